// A campaign: many runs beside each other, their speed-ups against common references, and whether goals
// were met. All forms of its report print the same numbers.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "analysis/report_model.hpp"
#include "analysis/table.hpp"

namespace bubblescope {

/// What speed-ups are against: of the schedules with these labels the fastest, per sample.
struct CampaignReference {
  std::string name;                    ///< `serial local`
  std::vector<std::string> schedules;  ///< labels
};

enum class GoalFigure {
  error,    ///< size of (predicted - measured) / measured iteration time
  idle,     ///< size of predicted - measured idle fraction, in percentage points
  speedup,  ///< measured, against a reference
};

/// What the measurements should show. Every schedule it names has to, or the best one.
struct CampaignGoal {
  std::string name;
  GoalFigure figure = GoalFigure::error;
  std::string reference;               ///< of a speed-up
  std::vector<std::string> scenarios;  ///< names; empty: all
  std::vector<std::string> schedules;  ///< labels; empty: all
  bool best = false;                   ///< the best one is enough
  double bound = 0;                    ///< at most (error, idle) or at least (speedup)
};

struct CampaignScenario {
  std::string name;
  std::vector<std::string> beside;  ///< scenarios whose schedules are references here, too
  std::string status;               ///< `complete`, `failed`, `not run`
  std::string reason;               ///< of a failure
  std::string report;               ///< its own report, relative to the campaign's; empty: none
  std::vector<ScheduleReport> schedules;  ///< complete (analysis/report.hpp); those without numbers have a label
};

struct Campaign {
  std::string title;
  std::string command;
  std::string machine;
  std::string date;
  std::vector<std::string> notes;
  std::vector<CampaignReference> references;
  std::vector<CampaignGoal> goals;
  std::vector<CampaignScenario> scenarios;
};

/// Speed-ups of one schedule against one reference; unset where either side is not known.
struct CampaignSpeedup {
  std::optional<double> predicted;
  std::optional<double> measured;
};
CampaignSpeedup campaign_speedup(const Campaign& campaign, const CampaignScenario& scenario, const ScheduleReport& schedule, const CampaignReference& reference);

/// How a goal stands. While schedules it is about are not measured it is neither met nor, unless a measured
/// one misses it where every one has to meet it, missed.
struct GoalResult {
  enum class Verdict { met, missed, not_measured } verdict = Verdict::not_measured;
  std::optional<double> value;  ///< the figure that decides: the worst, or the best where that is enough
  std::string scenario, schedule;  ///< whose
  std::size_t measured = 0, missing = 0, missed = 0;
};
GoalResult goal_result(const Campaign& campaign, const CampaignGoal& goal);

/// A row per (scenario, schedule): iteration times, quartiles and number of rounds, error, speed-ups.
Table campaign_table(const Campaign& campaign);
/// Likewise: idle fractions and memory.
Table campaign_utilisation_table(const Campaign& campaign);
/// A row per goal.
Table goal_table(const Campaign& campaign);
/// `name: reason`, for every scenario that failed.
std::vector<std::string> campaign_failures(const Campaign& campaign);

std::string campaign_markdown(const Campaign& campaign);
std::string campaign_html(const Campaign& campaign);
/// `{"schema_version": 1, "title", ..., "scenarios": [...], "goals": [...]}`; times in integer nanoseconds.
std::string campaign_json(const Campaign& campaign);

/// Writes report.html, report.md and report.json into `folder`; returns the paths. Throws RunError.
std::vector<std::filesystem::path> write_campaign(const Campaign& campaign, const std::filesystem::path& folder);

}  // namespace bubblescope
