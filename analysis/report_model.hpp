// What a report says, before it is laid out: the one source of the HTML, Markdown and JSON forms.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/bubbles.hpp"
#include "analysis/compare.hpp"
#include "analysis/critical_path.hpp"
#include "analysis/idle.hpp"
#include "analysis/kernels.hpp"
#include "sim/core/quartiles.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {

/// Numbers of one side of a schedule, predicted or measured. What `complete` finds unset (zero or
/// empty) it takes from the side's Timeline.
struct SideNumbers {
  Nanos iteration = 0;             ///< time per iteration; of several repetitions the median
  std::vector<Nanos> repeats;      ///< time per iteration of every repetition; may be empty
  std::optional<Quartiles> spread; ///< of `repeats`
  Nanos makespan = 0;              ///< of the Timeline that is shown
  std::vector<double> idle_repeats; ///< idle fraction of every repetition; may be empty
  double idle_fraction = -1;       ///< of several repetitions the median, else of that Timeline; -1: not known
  std::vector<std::array<Nanos, kIdleCauses>> idle;  ///< rank -> cause -> ns, of the Timeline shown
  std::vector<std::int64_t> peak_bytes;              ///< per rank; empty: not known
  std::optional<double> speedup;   ///< against the baseline's same side; per sample, where both say how many
  std::optional<Bubbles> bubbles;
  std::optional<CriticalPath> path;
};

/// What somebody published for this schedule.
struct PublishedFigure {
  std::string text;               ///< `2.62x over sequential local, 4 GPUs`
  std::optional<double> speedup;  ///< comparable with ours, where it is
};

struct ScheduleReport {
  std::string label;
  std::string schedule;   ///< registry name
  std::string failure;    ///< why there are no numbers (deadlock, out of memory, not applicable), or empty
  std::int32_t ranks = 0;
  std::int32_t microbatches = 0;
  std::int64_t samples = 0;  ///< that an iteration trains on; 0: not known
  std::optional<Timeline> predicted_timeline;
  std::optional<Timeline> measured_timeline;
  std::optional<SideNumbers> predicted;
  std::optional<SideNumbers> measured;
  std::optional<double> error;        ///< (predicted - measured) / measured iteration time
  std::optional<double> idle_points;  ///< predicted - measured idle fraction, in percentage points
  std::optional<Comparison> comparison;
  std::optional<Timeline> kernel_timeline;   ///< of a run of its own, which recorded kernels
  std::optional<KernelBreakdown> kernels;    ///< of it
  std::vector<Sensitivity> sensitivity;  ///< of the predicted Timeline
  std::optional<PublishedFigure> published;
};

struct ReportModel {
  std::string title;
  std::string command;    ///< the exact command line that made this report
  std::string scenario;   ///< the scenario's text, verbatim
  std::string machine;    ///< hardware and software versions
  std::string date;
  std::vector<std::string> notes;
  bool partial = false;   ///< the run ended early; a note says why
  std::string baseline;   ///< label of the schedule that speed-ups are against; empty: none
  double sensitivity_percent = 10;
  std::vector<ScheduleReport> schedules;
};

}  // namespace bubblescope
