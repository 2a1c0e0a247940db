// Scenario experiments as cases.
#include "bench/experiment_case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "analysis/report.hpp"
#include "sim/core/error.hpp"
#include "sim/lower/send_recv.hpp"

namespace bubblescope {

std::vector<ScheduleConfig> chosen_schedules(const Scenario& scenario, const ScheduleFlags& flags) {
  const std::string asked = !flags.options.empty() ? flags.options.begin()->first : flags.recompute.empty() ? "" : "recompute";
  if (flags.schedule.empty()) {
    if (!asked.empty()) throw InputError(fmt::format("--{} needs --schedule: a scenario's schedules have their options in the file", asked));
    return scenario.schedules;
  }
  const auto names = schedule_names(flags.schedule);
  require_options_used(names, flags.options);
  std::vector<ScheduleConfig> chosen;
  for (const std::string& name : names) {
    bool found = false;
    if (flags.options.empty()) {
      // The scenario's own entries of that name, with the options it gives them.
      for (ScheduleConfig config : scenario.schedules) {
        if (config.name != name) continue;
        if (!flags.recompute.empty()) {
          const bool own = config.label != config.default_label();
          config.recompute = flags.recompute;
          config.label = own ? fmt::format("{} recompute={}", config.label, flags.recompute) : config.default_label();
        }
        found = true;
        // Entries that differed in what they recompute alone are one now.
        const auto same = [&](const ScheduleConfig& other) { return other.label == config.label; };
        if (std::none_of(chosen.begin(), chosen.end(), same)) chosen.push_back(std::move(config));
      }
    }
    if (!found) chosen.push_back(config_of(name, flags));
  }
  return chosen;
}

Case make_case(const Experiment& experiment, const Scenario& scenario, const ScheduleFlags& flags) {
  Case result;
  result.label = experiment.config.label;
  result.schedule = experiment.config.name;
  result.program = experiment.program;
  result.costs = experiment.costs;
  result.iterations = flags.iterations;
  result.cluster = build_cluster(scenario);
  if (!flags.latency.empty()) result.cluster.link.latency = parse_duration(flags.latency);
  return result;
}

std::vector<std::string> memory_notes(const Scenario& scenario, const std::vector<Prediction>& predictions) {
  std::vector<std::string> notes;
  const Cluster cluster = build_cluster(scenario);
  for (const Prediction& prediction : predictions) {
    if (!prediction.summary || !prediction.summary->has_bytes) continue;
    std::vector<std::int64_t> peaks;
    for (const RankMemory& rank : prediction.summary->memory) peaks.push_back(rank.peak_bytes);
    for (const MemoryExcess& excess : memory_excess(peaks, cluster)) {
      notes.push_back(fmt::format("{}: rank {} needs {}, but its device has {}", prediction.label, excess.rank, bytes_text(excess.peak_bytes), bytes_text(excess.capacity)));
    }
  }
  return notes;
}

}  // namespace bubblescope
