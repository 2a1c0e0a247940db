// Speed-ups, goals and tables of a campaign.
#include "analysis/campaign.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/report.hpp"

namespace bubblescope {
namespace {

bool among(const std::string& name, const std::vector<std::string>& names) { return std::find(names.begin(), names.end(), name) != names.end(); }

/// Nanoseconds per sample, or per iteration where the samples are not known; 0: no time is known.
double pace(const ScheduleReport& schedule, const std::optional<SideNumbers>& side) {
  if (!schedule.failure.empty() || !side || side->iteration <= 0) return 0;
  return static_cast<double>(side->iteration) / static_cast<double>(std::max<std::int64_t>(1, schedule.samples));
}

std::optional<double> speedup(const Campaign& campaign, const CampaignScenario& home, const ScheduleReport& schedule, const CampaignReference& reference,
                              std::optional<SideNumbers> ScheduleReport::*side) {
  const double own = pace(schedule, schedule.*side);
  double best = 0;
  for (const CampaignScenario& scenario : campaign.scenarios) {
    if (&scenario != &home && !among(scenario.name, home.beside)) continue;
    for (const ScheduleReport& other : scenario.schedules) {
      if (!among(other.label, reference.schedules)) continue;
      const double its = pace(other, other.*side);
      if (its > 0 && (best == 0 || its < best)) best = its;
    }
  }
  if (own <= 0 || best <= 0) return std::nullopt;
  return best / own;
}

std::optional<double> figure_of(const Campaign& campaign, const CampaignScenario& scenario, const ScheduleReport& schedule, const CampaignGoal& goal) {
  if (!schedule.failure.empty() || !schedule.measured) return std::nullopt;
  if (goal.figure == GoalFigure::error) return schedule.error ? std::optional(std::abs(*schedule.error)) : std::nullopt;
  if (goal.figure == GoalFigure::idle) return schedule.idle_points ? std::optional(std::abs(*schedule.idle_points)) : std::nullopt;
  for (const CampaignReference& reference : campaign.references) {
    if (reference.name == goal.reference) return campaign_speedup(campaign, scenario, schedule, reference).measured;
  }
  return std::nullopt;
}

std::string figure_text(GoalFigure figure, double value) {
  if (figure == GoalFigure::error) return percent(value);
  return figure == GoalFigure::idle ? fmt::format("{:.1f} points", value) : times(value);
}

std::string verdict_text(const CampaignGoal& goal, const GoalResult& result) {
  if (result.verdict == GoalResult::Verdict::met) return "met";
  if (result.verdict == GoalResult::Verdict::missed) {
    const double by = std::abs(*result.value - goal.bound);
    const std::string text = goal.figure == GoalFigure::speedup ? times(by) : fmt::format("{:.1f} points", goal.figure == GoalFigure::error ? 100 * by : by);
    return goal.best ? "missed by " + text : fmt::format("missed by {} ({} of {})", text, result.missed, result.measured + result.missing);
  }
  return result.measured == 0 ? "not measured" : fmt::format("not measured ({} of {} are)", result.measured, result.measured + result.missing);
}

/// A row for every schedule, begun with scenario and label and filled by `fill`; without numbers it says why.
template <typename Fill>
Table rows_of(const Campaign& campaign, Table table, Fill fill) {
  for (const CampaignScenario& scenario : campaign.scenarios) {
    for (const ScheduleReport& schedule : scenario.schedules) {
      std::vector<std::string> row(table.columns.size());
      row[0] = scenario.name;
      row[1] = schedule.label;
      if (!schedule.failure.empty() || (!schedule.predicted && !schedule.measured)) {
        row[2] = !schedule.failure.empty() || scenario.status == "failed" ? "no result" : "not measured";
      } else {
        fill(scenario, schedule, row);
      }
      table.rows.push_back(std::move(row));
    }
  }
  return without_empty_columns(table);
}

}  // namespace

CampaignSpeedup campaign_speedup(const Campaign& campaign, const CampaignScenario& scenario, const ScheduleReport& schedule, const CampaignReference& reference) {
  return {speedup(campaign, scenario, schedule, reference, &ScheduleReport::predicted), speedup(campaign, scenario, schedule, reference, &ScheduleReport::measured)};
}

GoalResult goal_result(const Campaign& campaign, const CampaignGoal& goal) {
  const bool upper = goal.figure != GoalFigure::speedup;
  const auto good = [&](double value) { return upper ? value <= goal.bound : value >= goal.bound; };
  GoalResult result;
  for (const CampaignScenario& scenario : campaign.scenarios) {
    if (!goal.scenarios.empty() && !among(scenario.name, goal.scenarios)) continue;
    for (const ScheduleReport& schedule : scenario.schedules) {
      if (!goal.schedules.empty() && !among(schedule.label, goal.schedules)) continue;
      const std::optional<double> value = figure_of(campaign, scenario, schedule, goal);
      if (!value) {
        ++result.missing;
        continue;
      }
      ++result.measured;
      if (!good(*value)) ++result.missed;
      // The best is the least of an upper bound's figures and the most of a lower bound's; the worst the other way round.
      const bool decides = !result.value || (goal.best == upper ? *value < *result.value : *value > *result.value);
      if (!decides) continue;
      result.value = value;
      result.scenario = scenario.name;
      result.schedule = schedule.label;
    }
  }
  using enum GoalResult::Verdict;
  const bool hit = result.value && good(*result.value);
  if (result.measured == 0) return result;
  if (goal.best) result.verdict = hit ? met : result.missing > 0 ? not_measured : missed;
  else result.verdict = !hit ? missed : result.missing > 0 ? not_measured : met;
  return result;
}

Table campaign_table(const Campaign& campaign) {
  Table table{{{"scenario"}, {"schedule"}, {"predicted", Align::right}, {"measured", Align::right}, {"quartiles", Align::right}, {"error", Align::right}}, {}};
  for (const CampaignReference& reference : campaign.references) {
    table.columns.push_back({fmt::format("over {}, predicted", reference.name), Align::right});
    table.columns.push_back({fmt::format("over {}, measured", reference.name), Align::right});
  }
  return rows_of(campaign, std::move(table), [&](const CampaignScenario& scenario, const ScheduleReport& schedule, std::vector<std::string>& row) {
    if (schedule.predicted) row[2] = format_duration(schedule.predicted->iteration);
    if (schedule.measured) row[3] = format_duration(schedule.measured->iteration);
    if (schedule.measured && schedule.measured->spread) row[4] = range_text(*schedule.measured->spread);
    if (schedule.error) row[5] = signed_percent(*schedule.error);
    for (std::size_t r = 0; r < campaign.references.size(); ++r) {
      const CampaignSpeedup speedups = campaign_speedup(campaign, scenario, schedule, campaign.references[r]);
      if (speedups.predicted) row[6 + 2 * r] = times(*speedups.predicted);
      if (speedups.measured) row[7 + 2 * r] = times(*speedups.measured);
    }
  });
}

Table campaign_utilisation_table(const Campaign& campaign) {
  Table table{{{"scenario"},
               {"schedule"},
               {"idle predicted", Align::right},
               {"idle measured", Align::right},
               {"difference", Align::right},
               {"peak memory predicted", Align::right},
               {"peak memory measured", Align::right}},
              {}};
  return rows_of(campaign, std::move(table), [](const CampaignScenario&, const ScheduleReport& schedule, std::vector<std::string>& row) {
    if (schedule.predicted) row[2] = idle_text(*schedule.predicted), row[5] = peak_text(*schedule.predicted);
    if (schedule.measured) row[3] = idle_text(*schedule.measured), row[6] = peak_text(*schedule.measured);
    if (schedule.idle_points) row[4] = points(*schedule.idle_points);
  });
}

Table goal_table(const Campaign& campaign) {
  Table table{{{"goal"}, {"bound", Align::right}, {"result", Align::right}, {"of"}, {"verdict"}}, {}};
  for (const CampaignGoal& goal : campaign.goals) {
    const GoalResult result = goal_result(campaign, goal);
    std::vector<std::string> row{goal.name, fmt::format("{} {}", goal.figure == GoalFigure::speedup ? "at least" : "at most", figure_text(goal.figure, goal.bound)), "", "", verdict_text(goal, result)};
    if (result.value) {
      row[2] = figure_text(goal.figure, *result.value);
      row[3] = fmt::format("{}, {}", result.scenario, result.schedule);
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<std::string> campaign_failures(const Campaign& campaign) {
  std::vector<std::string> lines;
  for (const CampaignScenario& scenario : campaign.scenarios) {
    if (scenario.status == "failed") lines.push_back(fmt::format("{}: {}", scenario.name, scenario.reason));
  }
  return lines;
}

}  // namespace bubblescope
