// Setting up and ending real runs.
#include "bench/real_run.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "analysis/report.hpp"
#include "backend/fields.hpp"
#include "backend/lifeline_meeting.hpp"
#include "backend/null.hpp"
#include "backend/recordable.hpp"
#include "bench/torch_backend.hpp"
#include "bench/experiment_case.hpp"
#include "bench/job.hpp"
#include "bench/machine.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

/// Bytes of the data set, where the scenario says how large it is.
std::int64_t data_bytes(const Scenario& scenario) {
  if (scenario.data.set != "generated") return 0;
  std::int64_t image = 1;
  for (const std::int64_t side : scenario.model.image) image *= side;
  return (scenario.data.samples + scenario.data.test_samples) * image;
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

MemoryNeeds refuse_hopeless(const Scenario& scenario, const std::vector<Experiment>& experiments) {
  for (const Experiment& experiment : experiments) {
    if (!scenario.backend.graphs) break;
    const std::string why = scenario.model.dropout > 0 ? kDropoutNotRecordable : not_recordable(experiment.program);
    if (!why.empty()) throw InputError(fmt::format("{}: '{}' cannot run as CUDA graphs: {}; expected backend.graphs = false", scenario.file.string(), experiment.config.label, why));
  }
  MemoryNeeds needs;
  for (const Experiment& experiment : experiments) {
    const Prediction prediction = predict_case(make_case(experiment, scenario, {}));
    if (prediction.deadlock) throw RunError("not run; " + deadlock_text(prediction));
    const auto notes = memory_notes(scenario, {prediction});
    if (!notes.empty()) throw RunError(notes.front() + "; it is not run");
    if (!prediction.summary) continue;
    auto& ranks = needs.emplace_back();
    for (const RankMemory& rank : prediction.summary->memory) ranks.push_back({rank.at_peak.weights + rank.at_peak.optimizer, rank.peak_bytes});
  }
  return needs;
}

std::int64_t bytes_needed(const MemoryNeeds& needs, RankRange ranks, bool keeps_states) {
  std::int64_t states = 0, peak = 0;
  for (const auto& experiment : needs) {
    std::int64_t together = 0;
    for (Rank r = ranks.first; r < std::min(ranks.last, static_cast<Rank>(experiment.size())); ++r) {
      if (keeps_states) states += experiment[at(r)].state;
      together += experiment[at(r)].peak;
    }
    peak = std::max(peak, together);
  }
  return states + peak;
}

std::string too_little_memory(const std::vector<ProcessMemory>& processes) {
  std::map<std::string, ProcessMemory> hosts;
  for (const ProcessMemory& process : processes) {
    ProcessMemory& host = hosts.try_emplace(process.host, ProcessMemory{process.host, 0, process.capacity}).first->second;
    host.needed += process.needed;
    host.capacity = std::min(host.capacity, process.capacity);  // a process's control group may allow less
  }
  for (const auto& [name, host] : hosts) {
    if (host.capacity <= 0 || host.needed <= host.capacity) continue;
    return fmt::format("data set, weights and activations need about {} of memory, but {} has {}; it is not run", bytes_text(host.needed), name.empty() ? "this machine" : "host " + name, bytes_text(host.capacity));
  }
  return {};
}

void refuse_too_large(const Scenario& scenario, const MemoryNeeds& needs, bool keeps_states, World* world) {
  if (scenario.backend.name != "cpu") return;
  const std::int32_t count = scenario.cluster.ranks;
  const RankRange own = world == nullptr ? RankRange{0, count} : ranks_of_process(world->process(), world->processes(), count);
  std::vector<ProcessMemory> processes{{"", data_bytes(scenario) + bytes_needed(needs, own, keeps_states), memory_capacity()}};
  if (world != nullptr) {
    const std::string mine = FieldsOut().add(host_name()).add(processes.front().needed).add(processes.front().capacity).take();
    processes.clear();
    for (const std::string& one : world->gather_all(mine)) {
      FieldsIn fields(one);
      ProcessMemory& process = processes.emplace_back();
      process.host = fields.get<std::string>();
      process.needed = fields.get<std::int64_t>();
      process.capacity = fields.get<std::int64_t>();
    }
  }
  // All of them find the same.
  if (const std::string why = too_little_memory(processes); !why.empty()) throw RunError(fmt::format("{}: {}", scenario.file.string(), why));
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
    tell_lost(run.lost);
    fmt::print(stderr, "bubblescope: ended after {} of {} rounds; what was measured is kept\n", run.rounds, scenario.run.repeats);
  } else if (run.stopped) {
    fmt::print(stderr, "bubblescope: interrupted after {} of {} rounds; what was measured is kept\n", run.rounds, scenario.run.repeats);
  }
  return run.stopped || !run.failures.empty() ? 1 : 0;
}

}  // namespace bubblescope
