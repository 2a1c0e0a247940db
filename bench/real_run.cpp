// Setting up and ending real runs.
#include "bench/real_run.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>

#include "analysis/report.hpp"
#include "backend/null.hpp"
#include "bench/cpu_backend.hpp"
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

/// What all ranks of one experiment hold all the time, and at most.
struct Need {
  std::int64_t resident = 0;
  std::int64_t peak = 0;
};

Need need_of(const Summary& summary) {
  Need need;
  for (const RankMemory& rank : summary.memory) {
    need.resident += rank.at_peak.weights + rank.at_peak.gradients + rank.at_peak.optimizer + rank.at_peak.auxiliary;
    need.peak += rank.peak_bytes;
  }
  return need;
}

}  // namespace

std::vector<Experiment> chosen_experiments(const Scenario& scenario, const ScheduleFlags& flags) {
  std::vector<Experiment> experiments;
  for (const ScheduleConfig& config : chosen_schedules(scenario, flags)) experiments.push_back(build_experiment(scenario, config));
  if (experiments.empty()) throw InputError(fmt::format("{}: no schedule is named; expected at least one [[schedule]], or --schedule", scenario.file.string()));
  return experiments;
}

MakeBackend backend_of(const Scenario& scenario) {
  if (scenario.backend.name == "null") {
    return [](const Experiment& experiment) { return std::make_unique<NullBackend>(experiment.costs); };
  }
  return cpu_backend(scenario);
}

void refuse_hopeless(const Scenario& scenario, const std::vector<Experiment>& experiments, bool keeps_states) {
  std::int64_t resident = 0, moving = 0;
  for (const Experiment& experiment : experiments) {
    const Prediction prediction = predict_case(make_case(experiment, scenario, {}));
    if (prediction.deadlock) throw RunError(fmt::format("{} deadlocks: {}; it is not run", experiment.config.label, fmt::join(prediction.deadlock->cycle, " waits for ")));
    const auto notes = memory_notes(scenario, {prediction});
    if (!notes.empty()) throw RunError(notes.front() + "; it is not run");
    if (!prediction.summary) continue;
    const Need need = need_of(*prediction.summary);
    if (keeps_states) resident += need.resident;
    moving = std::max(moving, need.peak);
  }
  if (scenario.backend.name != "cpu") return;
  const std::int64_t needed = data_bytes(scenario) + resident + moving, capacity = memory_capacity();
  if (capacity > 0 && needed > capacity) {
    throw RunError(fmt::format("{}: data set, weights and activations need at least {} of memory, but this machine has {}; it is not run", scenario.file.string(), bytes_text(needed),
                               bytes_text(capacity)));
  }
}

std::string nothing_measured(const MeasuredRun& run) {
  if (!run.schedules.empty()) return {};
  if (!run.failures.empty()) return fmt::format("{}: {}", run.failures.front().config.label, run.failures.front().failure);
  return "interrupted before one schedule was measured";
}

int tell_early_end(const MeasuredRun& run, const Scenario& scenario) {
  for (const FailedSchedule& failed : run.failures) fmt::print(stderr, "bubblescope: {}: {}\n", failed.config.label, failed.failure);
  if (run.stopped) fmt::print(stderr, "bubblescope: interrupted after {} of {} rounds; what was measured is kept\n", run.rounds, scenario.run.repeats);
  return run.stopped || !run.failures.empty() ? 1 : 0;
}

}  // namespace bubblescope
