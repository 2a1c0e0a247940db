// What every command says about one timeline, predicted or measured: numbers, their JSON, their table.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "analysis/bubbles.hpp"
#include "analysis/idle.hpp"
#include "analysis/queue_depth.hpp"
#include "analysis/table.hpp"
#include "sim/core/cluster.hpp"
#include "sim/core/costs.hpp"
#include "sim/core/program.hpp"
#include "sim/core/timeline.hpp"
#include "sim/engine/memory.hpp"
#include "sim/engine/simulate.hpp"

namespace bubblescope {

/// One schedule ready to be predicted.
struct Case {
  std::string label;     ///< `ppll queue=2`
  std::string schedule;  ///< its registry name, or the file it was read from
  Program program;       ///< one iteration, with or without sends and receives
  std::string lower;     ///< passes that place them (sim/lower/passes.hpp)
  StageCosts costs;
  Cluster cluster;
  std::int32_t iterations = 1;
};

/// What ranks send each other in one iteration.
struct Traffic {
  std::int64_t messages = 0;  ///< activations and gradients
  std::int64_t bytes = 0;     ///< theirs, and what every member of a reduction sends
};

/// Numbers of one timeline.
struct Summary {
  Timeline timeline;
  Bubbles bubbles;
  IdleSplit idle;
  std::vector<RankMemory> memory;
  std::vector<ChannelDepth> depth;
  Traffic traffic;
  Nanos period = 0;  ///< per iteration; per microbatch for schedules that update every microbatch
  bool has_bytes = false;
};

/// Its numbers alone, without a timeline and without what single ranks do.
struct KeyNumbers {
  Nanos makespan = 0, span = 0, period = 0;
  double idle_fraction = 0, overhead = 0, span_rate = 0, internal = 0;  ///< analysis/bubbles.hpp
  std::int32_t peak_activations = 0;  ///< of the rank that has most
  std::int64_t peak_bytes = -1;       ///< of the rank that needs most; -1: not known
  std::int64_t messages = 0;
  std::int64_t sent_bytes = -1;  ///< -1: not known
};
KeyNumbers key_numbers(const Summary& summary);

/// Everything about `timeline`, which `program` (one iteration) made. Its memory is modelled with
/// `costs` unless the timeline brings what was measured.
Summary summarize(const Program& program, const StageCosts& costs, Timeline timeline, Nanos period);

/// One schedule's prediction: a summary, a deadlock, or the reason why there is neither.
struct Prediction {
  std::string label;
  std::string schedule;
  std::int32_t ranks = 0, microbatches = 0, chunks = 1, iterations = 1;
  std::optional<Summary> summary;
  std::optional<Deadlock> deadlock;
  std::vector<std::string> mismatches;     ///< of a deadlock: sends and receives whose orders differ
  std::optional<std::vector<std::string>> safe_channels;  ///< of a deadlock whose channels may be others: modes without (sim/lower/safe_channels.hpp)
  std::optional<std::string> skipped;
};

/// Checks (V2, V3: a cycle is a deadlock, and so are orders that do not match), lowers and simulates. Throws
/// InputError where the program fails V1.
Prediction predict_case(const Case& what);
/// A deadlock in words: the cycle, what does not match, and the channels that the schedule runs on.
std::string deadlock_text(const Prediction& prediction);
/// The last of these: ends in a newline. `safe` as from `safe_channels`.
std::string safe_channels_text(const std::vector<std::string>& safe);

/// The result object of `predict --json` (design: one schema for predictions and measurements).
nlohmann::json result_json(const Prediction& prediction);
/// The part of it that a measurement has, too.
nlohmann::json summary_json(const Summary& summary);

/// Times, bubbles and traffic, under the keys that all results have; all null where there is none.
nlohmann::json key_json(const std::optional<KeyNumbers>& numbers);
/// Bytes that are not known are negative: null, and a dash.
nlohmann::json bytes_json(std::int64_t bytes);
std::string bytes_or_dash(std::int64_t bytes);

/// A row per prediction: times, the four bubble definitions, memory, traffic.
Table prediction_table(const std::vector<Prediction>& predictions);

}  // namespace bubblescope
