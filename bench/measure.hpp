// Measuring schedules for real: calibration and runs interleaved, so that the machine's drift hits both.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "backend/executor.hpp"
#include "backend/world.hpp"
#include "bench/summary.hpp"
#include "sim/core/profile.hpp"
#include "sim/scenario/build.hpp"
#include "sim/scenario/scenario.hpp"

namespace bubblescope {

/// Makes the backend for one experiment.
using MakeBackend = std::function<std::unique_ptr<Backend>(const Experiment&)>;

/// One schedule, predicted from its calibration and executed.
struct Measured {
  Experiment experiment;
  Measurement calibration;             ///< medians over the rounds
  Summary predicted;                   ///< from `calibration`
  Summary measured;                    ///< the round with the median iteration time
  std::vector<Nanos> iteration_repeats; ///< measured iteration time of every round
  Quartiles iteration;                 ///< its quartiles
  std::vector<Nanos> predicted_repeats; ///< predicted from each round's own calibration
  std::vector<double> idle_repeats;     ///< measured idle fraction of every round
  std::vector<double> predicted_idle_repeats; ///< predicted from each round's own calibration
  double loss = 0;                     ///< newest loss of the last rank; NaN where there is none
  std::optional<Timeline> kernels;     ///< of a run after all rounds, with kernels; nothing else here comes from it
  std::string kernels_note;            ///< what is to be known of it, or why there is none

  // Medians over the rounds, predicted each from its own calibration: where ranks are unequal in another way each time, the
  // slower one of each round counts, so that rounds take longer and ranks idle more than average ranks would.
  Nanos predicted_iteration() const;
  /// (predicted - measured) / measured iteration time.
  double period_error() const;
  /// Predicted minus measured idle fraction, in percentage points.
  double idle_points() const;
};

/// A schedule that could not go on: a loss that is not a number, memory that ran out.
struct FailedSchedule {
  ScheduleConfig config;
  std::int32_t ranks = 0;
  std::int32_t microbatches = 0;
  std::string failure;
  std::int32_t rounds = 0;  ///< complete before that; with some it is among the measured ones, too
};

struct MeasuredRun {
  std::vector<Measured> schedules;
  std::vector<FailedSchedule> failures;
  CostProfile profile;      ///< all calibrations pooled, those of schedules that were not executed included
  std::int32_t rounds = 0;  ///< complete ones; an interrupted run may have schedules with one more
  bool stopped = false;
  std::string lost;         ///< which process was lost, where that ended it
  std::vector<std::string> notes;  ///< about processes and their clocks
};

struct MeasureOptions {
  const std::atomic<bool>* stop = nullptr;
  std::function<void(const std::string& what)> progress;  ///< called before each piece of work
  std::function<void()> piece_done;
  /// Called in the first process after rounds that something follows, with what there would be had it been stopped then, and so
  /// rarely that it takes a small part of the time.
  std::function<void(const MeasuredRun& so_far)> keep;
  World* world = nullptr;  ///< the processes that share the ranks; each calls the same, and the first one gets the results
};

/// Calibrates every experiment: `rounds` of it, pooled. Stops early when told, and keeps what there is,
/// which may be nothing. A schedule that fails drops out, the others go on.
MeasuredRun calibrate_experiments(const Scenario& scenario, std::vector<Experiment> experiments, const MakeBackend& backend, const MeasureOptions& options);

/// Rounds of (calibrate, execute) over all experiments, each predicted from its own calibration. Then, where the
/// scenario asks for kernels, one run of each that records them. Stops and fails likewise; a failure to record
/// kernels is a note.
MeasuredRun measure_experiments(const Scenario& scenario, std::vector<Experiment> experiments, const MakeBackend& backend, const MeasureOptions& options);

}  // namespace bubblescope
