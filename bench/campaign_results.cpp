// Reading a campaign's scenarios and results.
#include "bench/campaign_results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "analysis/report.hpp"
#include "bench/run_folder.hpp"
#include "bench/version.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

/// Throws InputError where none of the scenarios with these names (empty: of all) has such a schedule.
void require_schedules(const CampaignConfig& plan, const std::vector<CampaignUnit>& units, const std::string& where, const std::vector<std::string>& schedules, const std::vector<std::string>& scenarios) {
  std::vector<std::string> known;
  for (const CampaignUnit& unit : units) {
    if (!scenarios.empty() && std::find(scenarios.begin(), scenarios.end(), unit.entry.name) == scenarios.end()) continue;
    for (const std::string& label : unit.labels()) known.push_back(label);
  }
  for (const std::string& schedule : schedules) {
    if (std::find(known.begin(), known.end(), schedule) != known.end()) continue;
    throw InputError(fmt::format("{}: {} names the schedule '{}', which none of its scenarios has{}", plan.file.string(), where, schedule, suggestion(schedule, known)));
  }
}

CampaignScenario scenario_so_far(const CampaignUnit& unit, const CampaignState& state, const std::filesystem::path& folder, Campaign& campaign, std::set<std::string>& builds) {
  CampaignScenario scenario;
  scenario.name = unit.entry.name;
  scenario.beside = unit.entry.beside;
  scenario.status = "not run";
  const auto known = state.find(unit.entry.name);
  const bool settled = known != state.end() && known->second.status != "begun" && unit.described_by(known->second);
  if (settled) {
    scenario.status = known->second.status;
    scenario.reason = known->second.reason;
    if (std::optional<ReportModel> results = stored_results(folder / scenario.name)) {
      const auto own = folder / scenario.name / "report";
      if (std::filesystem::exists(own.string() + ".html") && std::filesystem::exists(own.string() + ".md")) scenario.report = scenario.name + "/report";
      if (campaign.machine.empty()) campaign.machine = results->machine;
      builds.insert(known->second.build);
      const std::string note = "Not all scenarios were run on the same machine with the same software; their own reports say on which.";
      if (campaign.machine != results->machine && std::find(campaign.notes.begin(), campaign.notes.end(), note) == campaign.notes.end()) campaign.notes.push_back(note);
      campaign.date = std::max(campaign.date, results->date);
      for (ScheduleReport& schedule : results->schedules) {
        schedule.predicted_timeline.reset(), schedule.measured_timeline.reset();  // large, and in its own report
        scenario.schedules.push_back(std::move(schedule));
      }
    }
  }
  for (const std::string& label : unit.labels()) {
    const bool there = std::any_of(scenario.schedules.begin(), scenario.schedules.end(), [&](const ScheduleReport& schedule) { return schedule.label == label; });
    if (!there) scenario.schedules.emplace_back().label = label;
  }
  return scenario;
}

}  // namespace

std::vector<std::string> CampaignUnit::labels() const {
  std::vector<std::string> labels;
  for (const ScheduleConfig& schedule : scenario.schedules) labels.push_back(schedule.label);
  return labels;
}

std::int64_t CampaignUnit::work() const { return static_cast<std::int64_t>(scenario.schedules.size()) * scenario.run.repeats; }

bool CampaignUnit::described_by(const ScenarioState& state) const { return state.scenario == scenario.text && state.schedules == labels() && state.version == version_text(); }

std::vector<CampaignUnit> read_units(const CampaignConfig& plan, const std::vector<std::string>& overrides) {
  std::vector<CampaignUnit> units;
  for (const CampaignEntry& entry : plan.entries) {
    CampaignUnit unit{entry, {}};
    unit.entry.overrides.insert(unit.entry.overrides.end(), overrides.begin(), overrides.end());
    unit.scenario = read_scenario(entry.file, unit.entry.overrides);
    if (unit.scenario.schedules.empty()) throw InputError(fmt::format("{}: no schedule is named; expected at least one [[schedule]]", entry.file.string()));
    units.push_back(std::move(unit));
  }
  if (plan.file.empty()) return units;
  for (const ReferenceConfig& reference : plan.references) require_schedules(plan, units, fmt::format("the reference '{}'", reference.name), reference.schedules, {});
  for (const GoalConfig& goal : plan.goals) require_schedules(plan, units, fmt::format("the goal '{}'", goal.name), goal.schedules, goal.scenarios);
  return units;
}

std::optional<ReportModel> stored_results(const std::filesystem::path& folder) {
  try {
    ReportModel model = read_run_folder(folder);
    complete(model);  // what cannot be reported on is no result
    return model;
  } catch (const InputError&) {
    return std::nullopt;
  }
}

Campaign campaign_so_far(const CampaignConfig& plan, const std::vector<CampaignUnit>& units, const CampaignState& state, const std::filesystem::path& folder, const std::string& command) {
  Campaign campaign;
  campaign.title = plan.title;
  campaign.command = command;
  for (const ReferenceConfig& reference : plan.references) campaign.references.push_back({reference.name, reference.schedules});
  for (const GoalConfig& goal : plan.goals) {
    const GoalFigure figure = goal.figure == "speedup" ? GoalFigure::speedup : goal.figure == "idle" ? GoalFigure::idle : GoalFigure::error;
    campaign.goals.push_back({goal.name, figure, goal.over, goal.scenarios, goal.schedules, goal.of == "best", goal.bound});
  }
  std::size_t done = 0;
  std::set<std::string> builds;
  for (const CampaignUnit& unit : units) {
    campaign.scenarios.push_back(scenario_so_far(unit, state, folder, campaign, builds));
    done += campaign.scenarios.back().status == "complete" ? 1 : 0;
  }
  if (builds.size() > 1) campaign.notes.push_back(fmt::format("The scenarios were run by {} builds of the program.", builds.size()));
  campaign.notes.insert(campaign.notes.begin(), fmt::format("{} of {} scenarios are complete.", done, units.size()));
  return campaign;
}

}  // namespace bubblescope
