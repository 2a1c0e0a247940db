// Lists of scenarios: what is wrong in them, and that the shipped ones build.
#include "sim/scenario/campaign.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "sim/core/error.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/scenario/build.hpp"
#include "sim/scenario/scenario.hpp"
#include "tests/source_dir.hpp"

namespace bubblescope {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class CampaignFile : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  CampaignConfig read(const std::string& text) {
    std::ofstream(folder_ / "campaign.toml") << text;
    return read_campaign_file(folder_ / "campaign.toml");
  }
  std::string refusal(const std::string& text) {
    try {
      read(text);
    } catch (const InputError& error) {
      return error.what();
    }
    return {};
  }
  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / "bubblescope_campaign_test";
};

const std::string kEntry = "[[scenario]]\nname = \"a\"\nfile = \"a.toml\"\n";

TEST_F(CampaignFile, has_entries_references_and_goals) {
  const CampaignConfig plan = read("title = \"T\"\n" + kEntry +
                                   "set = [\"training.batch=8\"]\nlimit = \"2min\"\n[[reference]]\nname = \"serial\"\nschedules = [\"s\"]\n"
                                   "[[goal]]\nname = \"g\"\nfigure = \"speedup\"\nover = \"serial\"\nof = \"best\"\nat_least = 2\n");
  EXPECT_EQ(plan.title, "T");
  ASSERT_EQ(plan.entries.size(), 1u);
  EXPECT_EQ(plan.entries[0].file, folder_ / "a.toml");
  EXPECT_THAT(plan.entries[0].overrides, ElementsAre("training.batch=8"));
  EXPECT_EQ(plan.entries[0].limit, 120 * kSecond);
  EXPECT_EQ(plan.goals.at(0).bound, 2);
  EXPECT_EQ(plan.goals.at(0).of, "best");
}

TEST_F(CampaignFile, mistakes_name_line_and_what_was_expected) {
  EXPECT_THAT(refusal("title = \"T\"\n"), HasSubstr("expected at least one [[scenario]]"));
  EXPECT_THAT(refusal(kEntry + "fiel = \"b\"\n"), AllOf(HasSubstr("campaign.toml:4:1: unknown key 'fiel'"), HasSubstr("did you mean 'file'")));
  EXPECT_THAT(refusal(kEntry + kEntry), HasSubstr("two scenarios are called 'a'"));
  EXPECT_THAT(refusal(kEntry + "beside = [\"b\"]\n"), HasSubstr("there is no scenario 'b'"));
  EXPECT_THAT(refusal(kEntry + "[[goal]]\nname = \"g\"\nfigure = \"speedup\"\nover = \"s\"\nat_least = 1\n"), HasSubstr("there is no [[reference]] 's'"));
  EXPECT_THAT(refusal(kEntry + "[[goal]]\nname = \"g\"\nfigure = \"error\"\nat_least = 1\n"), HasSubstr("needs 'at_most'"));
}

TEST(ShippedCampaign, every_entry_builds_simulates_and_has_the_schedules_that_goals_name) {
  const CampaignConfig plan = read_campaign_file(source_dir() / "scenarios/h200/campaign.toml");
  EXPECT_GE(plan.entries.size(), 13u);
  for (const CampaignEntry& entry : plan.entries) {
    const Scenario scenario = read_scenario(entry.file, entry.overrides);
    const Cluster cluster = build_cluster(scenario);
    std::vector<std::string> labels;
    for (const ScheduleConfig& config : scenario.schedules) {
      const Experiment experiment = build_experiment(scenario, config);
      labels.push_back(experiment.config.label);
      const Simulation simulation = simulate(experiment.program, experiment.costs, cluster);
      EXPECT_FALSE(simulation.deadlock.has_value()) << entry.name << ": " << experiment.config.label;
    }
    for (const GoalConfig& goal : plan.goals) {
      if (std::find(goal.scenarios.begin(), goal.scenarios.end(), entry.name) == goal.scenarios.end()) continue;
      for (const std::string& label : goal.schedules) EXPECT_THAT(labels, testing::Contains(label)) << goal.name;
    }
  }
}

}  // namespace
}  // namespace bubblescope
