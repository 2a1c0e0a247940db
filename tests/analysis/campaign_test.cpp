// A campaign's speed-ups, goals and report.
#include "analysis/campaign.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/analysis/build_report.hpp"

namespace bubblescope {
namespace {

ScheduleReport one(const std::string& label, Nanos predicted, Nanos measured, std::int64_t samples = 8) {
  ScheduleReport schedule;
  schedule.label = label;
  schedule.samples = samples;
  schedule.predicted.emplace();
  schedule.predicted->iteration = predicted;
  schedule.measured.emplace();
  schedule.measured->iteration = measured;
  ReportModel model;
  model.schedules.push_back(schedule);
  complete(model);
  return model.schedules.front();
}

/// `near` has a serial schedule of 40 ms and one four times as fast; `far` one that is serial, too, 30 ms for
/// twice the samples.
Campaign small() {
  Campaign campaign;
  campaign.title = "Small";
  campaign.references = {{"serial", {"serial"}}};
  campaign.scenarios = {{"near", {}, "complete", "", "near/report", {one("serial", 41'000'000, 40'000'000), one("ppll", 11'000'000, 10'000'000)}},
                        {"far", {}, "complete", "", "far/report", {one("serial", 30'000'000, 30'000'000, 16)}}};
  return campaign;
}

CampaignGoal speedup_goal(double bound, bool best = false) {
  CampaignGoal goal;
  goal.name = "faster";
  goal.figure = GoalFigure::speedup;
  goal.reference = "serial";
  goal.schedules = {"ppll"};
  goal.bound = bound;
  goal.best = best;
  return goal;
}

TEST(Campaign, speed_ups_are_per_sample_against_the_fastest_reference_of_the_scenario_and_those_beside_it) {
  Campaign campaign = small();
  const auto measured = [&] { return *campaign_speedup(campaign, campaign.scenarios[0], campaign.scenarios[0].schedules[1], campaign.references[0]).measured; };
  EXPECT_DOUBLE_EQ(measured(), 4);
  // 30 ms for 16 samples are 15 ms for 8.
  campaign.scenarios[0].beside = {"far"};
  EXPECT_DOUBLE_EQ(measured(), 1.5);
}

TEST(Campaign, a_goal_is_met_at_its_bound_and_missed_by_what_is_lacking) {
  const Campaign campaign = small();
  EXPECT_EQ(goal_result(campaign, speedup_goal(4)).verdict, GoalResult::Verdict::met);
  const GoalResult result = goal_result(campaign, speedup_goal(4.5));
  EXPECT_EQ(result.verdict, GoalResult::Verdict::missed);
  EXPECT_DOUBLE_EQ(*result.value, 4);
  EXPECT_EQ(result.scenario + "/" + result.schedule, "near/ppll");
}

TEST(Campaign, the_worst_decides_unless_the_best_is_enough) {
  Campaign campaign = small();
  campaign.scenarios[0].schedules.push_back(one("ppll 2", 20'000'000, 20'000'000));
  CampaignGoal goal = speedup_goal(3);
  goal.schedules = {"ppll", "ppll 2"};
  EXPECT_EQ(goal_result(campaign, goal).schedule, "ppll 2");
  EXPECT_EQ(goal_result(campaign, goal).verdict, GoalResult::Verdict::missed);
  goal.best = true;
  EXPECT_EQ(goal_result(campaign, goal).schedule, "ppll");
  EXPECT_EQ(goal_result(campaign, goal).verdict, GoalResult::Verdict::met);
  // Errors: 1 of 40, 1 of 10, none.
  CampaignGoal error;
  error.bound = 0.05;
  EXPECT_DOUBLE_EQ(*goal_result(campaign, error).value, 0.1);
  EXPECT_EQ(goal_result(campaign, error).verdict, GoalResult::Verdict::missed);
  EXPECT_EQ(goal_result(campaign, error).missed, 1u);
  error.best = true;
  EXPECT_DOUBLE_EQ(*goal_result(campaign, error).value, 0);
}

TEST(Campaign, what_is_not_measured_keeps_a_goal_open_unless_it_is_missed_anyway) {
  Campaign campaign = small();
  campaign.scenarios[0].schedules.emplace_back().label = "later";
  CampaignGoal error;
  error.bound = 0.2;
  EXPECT_EQ(goal_result(campaign, error).verdict, GoalResult::Verdict::not_measured);
  EXPECT_EQ(goal_result(campaign, error).missing, 1u);
  error.bound = 0.05;
  EXPECT_EQ(goal_result(campaign, error).verdict, GoalResult::Verdict::missed);
  CampaignGoal best = speedup_goal(4.5, true);
  best.schedules.push_back("later");
  EXPECT_EQ(goal_result(campaign, best).verdict, GoalResult::Verdict::not_measured);
  best.bound = 4;
  EXPECT_EQ(goal_result(campaign, best).verdict, GoalResult::Verdict::met);
}

TEST(Campaign, a_failed_scenario_has_rows_without_numbers_and_its_reason) {
  Campaign campaign = small();
  campaign.scenarios.push_back({"broken", {}, "failed", "no GPU", "", {}});
  campaign.scenarios.back().schedules.emplace_back().label = "ppll";
  const Table table = campaign_table(campaign);
  EXPECT_EQ(table.rows.back()[2], "no result");
  EXPECT_EQ(campaign_failures(campaign), std::vector<std::string>{"broken: no GPU"});
  EXPECT_EQ(nlohmann::json::parse(campaign_json(campaign))["scenarios"][2]["reason"], "no GPU");
}

TEST(Campaign, hostile_text_is_text_in_every_form) {
  Campaign campaign = small();
  campaign.title = campaign.command = campaign.machine = kHostile;
  campaign.notes = {kHostile};
  campaign.scenarios[0].name = kHostile;
  campaign.scenarios[0].report = kHostile + "/report";
  campaign.scenarios[0].status = "failed";
  campaign.scenarios[0].reason = kHostile;
  campaign.scenarios[0].schedules[1].label = kHostile;
  campaign.references[0].name = kHostile;
  campaign.goals = {speedup_goal(1)};
  campaign.goals[0].name = kHostile;
  for (const std::string& text : {campaign_html(campaign), campaign_markdown(campaign).substr(0, campaign_markdown(campaign).find("## Command"))}) {
    EXPECT_EQ(text.find("<img"), std::string::npos);
    EXPECT_EQ(text.find("</script><"), std::string::npos);
  }
  EXPECT_EQ(nlohmann::json::parse(campaign_json(campaign))["title"], kHostile);
}

}  // namespace
}  // namespace bubblescope
