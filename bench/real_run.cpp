// Setting up and ending real runs.
#include "bench/real_run.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>

#include "analysis/report.hpp"
#include "backend/null.hpp"
#include "backend/recordable.hpp"
#include "bench/torch_backend.hpp"
#include "bench/experiment_case.hpp"
#include "bench/machine.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

/// Bytes of the data set, where the scenario says how large it is.
std::int64_t data_bytes(const Scenario& scenario) {
  if (scenario.data.set != "generated") return 0;
  std::int64_t image = 1;
  for (const std::int64_t side : scenario.model.image) image *= side;
  return (scenario.data.samples + scenario.data.test_samples) * image;
}

/// What all ranks of one experiment hold of a state that is kept, and at most.
struct Need {
  std::int64_t state = 0;
  std::int64_t peak = 0;
};

Need need_of(const Summary& summary) {
  Need need;
  for (const RankMemory& rank : summary.memory) {
    need.state += rank.at_peak.weights + rank.at_peak.optimizer;
    need.peak += rank.peak_bytes;
  }
  return need;
}

}  // namespace

Chosen chosen_experiments(const Scenario& scenario, const ScheduleFlags& flags) {
  Chosen chosen;
  std::string why;
  for (const ScheduleConfig& config : chosen_schedules(scenario, flags)) {
    try {
      chosen.experiments.push_back(build_experiment(scenario, config));
    } catch (const ShapeError& error) {
      if (flags.schedule != "all") throw;
      chosen.skipped.push_back(fmt::format("{} is skipped: {}", config.label, error.what()));
      why = error.what();
    }
  }
  if (!chosen.experiments.empty()) return chosen;
  if (!why.empty()) throw InputError("no schedule can be run; " + why);
  throw InputError(fmt::format("{}: no schedule is named; expected at least one [[schedule]], or --schedule", scenario.file.string()));
}

void tell_skipped(const Chosen& chosen) {
  for (const std::string& line : chosen.skipped) fmt::print(stderr, "bubblescope: {}\n", line);
}

MakeBackend backend_of(const Scenario& scenario) {
  if (scenario.backend.name == "null") {
    return [](const Experiment& experiment) { return std::make_unique<NullBackend>(experiment.costs); };
  }
  return torch_backend_of(scenario);
}

void refuse_hopeless(const Scenario& scenario, const std::vector<Experiment>& experiments, bool keeps_states) {
  for (const Experiment& experiment : experiments) {
    if (!scenario.backend.graphs) break;
    const std::string why = scenario.model.dropout > 0 ? kDropoutNotRecordable : not_recordable(experiment.program);
    if (!why.empty()) throw InputError(fmt::format("{}: '{}' cannot run as CUDA graphs: {}; expected backend.graphs = false", scenario.file.string(), experiment.config.label, why));
  }
  std::int64_t states = 0, peak = 0;
  for (const Experiment& experiment : experiments) {
    const Prediction prediction = predict_case(make_case(experiment, scenario, {}));
    if (prediction.deadlock) throw RunError("not run; " + deadlock_text(prediction));
    const auto notes = memory_notes(scenario, {prediction});
    if (!notes.empty()) throw RunError(notes.front() + "; it is not run");
    if (!prediction.summary) continue;
    const Need need = need_of(*prediction.summary);
    if (keeps_states) states += need.state;
    peak = std::max(peak, need.peak);
  }
  if (scenario.backend.name != "cpu") return;
  const std::int64_t needed = data_bytes(scenario) + states + peak, capacity = memory_capacity();
  if (capacity > 0 && needed > capacity) {
    throw RunError(fmt::format("{}: data set, weights and activations need about {} of memory, but this machine has {}; it is not run", scenario.file.string(), bytes_text(needed),
                               bytes_text(capacity)));
  }
}

std::string nothing_measured(const MeasuredRun& run) {
  if (!run.schedules.empty()) return {};
  if (!run.failures.empty()) {
    // All for the same reason, most of the time.
    std::vector<std::pair<std::string, std::vector<std::string>>> labels_of;
    for (const FailedSchedule& failed : run.failures) {
      const auto known = std::find_if(labels_of.begin(), labels_of.end(), [&](const auto& entry) { return entry.first == failed.failure; });
      (known != labels_of.end() ? *known : labels_of.emplace_back(failed.failure, std::vector<std::string>{})).second.push_back(failed.config.label);
    }
    std::vector<std::string> why;
    for (const auto& [failure, labels] : labels_of) why.push_back(fmt::format("{}: {}", fmt::join(labels, ", "), failure));
    return fmt::format("{}", fmt::join(why, "; "));
  }
  if (!run.lost.empty()) return run.lost;
  return "interrupted before one schedule was measured";
}

int tell_early_end(const MeasuredRun& run, const Scenario& scenario) {
  for (const FailedSchedule& failed : run.failures) fmt::print(stderr, "bubblescope: {}: {}\n", failed.config.label, failed.failure);
  if (!run.lost.empty()) {
    fmt::print(stderr, "bubblescope: {}\nbubblescope: ended after {} of {} rounds; what was measured is kept\n", run.lost, run.rounds, scenario.run.repeats);
  } else if (run.stopped) {
    fmt::print(stderr, "bubblescope: interrupted after {} of {} rounds; what was measured is kept\n", run.rounds, scenario.run.repeats);
  }
  return run.stopped || !run.failures.empty() ? 1 : 0;
}

}  // namespace bubblescope
