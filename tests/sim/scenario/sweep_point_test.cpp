// Points of a sweep: which scenario each is, and which values are refused beforehand.
#include "sim/scenario/sweep_point.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

const std::string kText = R"([training]
batch = 64
[cluster]
ranks = 2
[[schedule]]
name = "ppll"
queue = 2
forward = "late"
[[schedule]]
name = "sequential-local"
[[schedule]]
name = "sequential-local"
variant = "overlapped"
[[schedule]]
name = "gpipe"
microbatches = 4
)";

std::vector<SweepAxis> axes(const std::string& text) { return parse_axes(std::vector<std::string>{text}); }

ScenarioDraft base() { return draft_scenario(kText, "folder/a.toml"); }

Scenario at(const std::string& over, std::int64_t point = 0) { return point_scenario(base(), axes(over), point); }

std::string refusal(const std::string& over) {
  try {
    check_axes(axes(over), base());
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

std::string contradiction(const std::string& over) {
  try {
    at(over);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(SweepPoint, without_an_axis_of_schedules_the_scenarios_own_are_predicted) {
  const Scenario s = at("ranks=4:8,batch=32:128", 3);
  EXPECT_EQ(s.cluster.ranks, 8);
  EXPECT_EQ(s.training.batch, 128);
  ASSERT_EQ(s.schedules.size(), 4u);
  EXPECT_EQ(s.schedules[0].label, "ppll forward=late queue=2");
  EXPECT_EQ(s.schedules[3].microbatches, 4);
}

TEST(SweepPoint, a_schedule_is_the_scenarios_with_its_options_else_one_with_defaults) {
  const Scenario own = at("schedule=ppll");
  ASSERT_EQ(own.schedules.size(), 1u);
  EXPECT_EQ(own.schedules[0].options.at("queue"), "2");
  EXPECT_EQ(at("schedule=sequential-local").schedules.size(), 2u);
  const Scenario other = at("schedule=1f1b,microbatches=8");
  ASSERT_EQ(other.schedules.size(), 1u);
  EXPECT_EQ(other.schedules[0].name, "1f1b");
  EXPECT_EQ(other.schedules[0].label, "1f1b");
  EXPECT_EQ(other.schedules[0].microbatches, 8);
}

TEST(SweepPoint, options_are_set_where_schedules_have_them) {
  const Scenario s = at("queue=1:7,microbatches=8", 1);
  EXPECT_EQ(s.schedules[0].options.at("queue"), "7");
  EXPECT_EQ(s.schedules[0].options.at("forward"), "late");
  EXPECT_EQ(s.schedules[0].label, "ppll forward=late queue=7");
  EXPECT_FALSE(s.schedules[3].options.contains("queue"));
  for (const ScheduleConfig& schedule : s.schedules) EXPECT_EQ(schedule.microbatches, 8);
  EXPECT_EQ(at("recompute=all,schedule=gpipe").schedules[0].label, "gpipe recompute=all");
  EXPECT_EQ(at("recompute=[0, 1],schedule=gpipe").schedules[0].recompute, "0:1");
}

TEST(SweepPoint, schedules_that_differed_in_what_is_set_alone_are_one) {
  EXPECT_EQ(at("variant=serial:overlapped,schedule=sequential-local", 1).schedules.size(), 1u);
}

TEST(SweepPoint, any_key_that_overrides_take_can_be_an_axis) {
  const Scenario s = at("schedule.ppll.queue=3,cluster.channel=\"rank,eager=64KiB\",costs.source=profile,costs.profile=p.json");
  EXPECT_EQ(s.schedules[0].options.at("queue"), "3");
  EXPECT_EQ(s.cluster.channel, "rank,eager=64KiB");
  EXPECT_EQ(s.costs.profile, "folder/p.json");
}

// GPipe's 4 microbatches do not divide a batch of 6, but GPipe is not what is predicted there, or has others.
TEST(SweepPoint, contradictions_of_schedules_that_are_not_predicted_do_not_count) {
  EXPECT_EQ(at("batch=6,schedule=ppll").training.batch, 6);
  EXPECT_EQ(at("batch=6,schedule=gpipe,microbatches=3").schedules[0].microbatches, 3);
  EXPECT_THAT(contradiction("batch=6"), testing::StartsWith("folder/a.toml:16:1: 4 microbatches"));
  EXPECT_THAT(contradiction("batch=6,schedule=gpipe"), testing::StartsWith("folder/a.toml: 4 microbatches"));
  EXPECT_THAT(contradiction("microbatches=5,schedule=gpipe"), testing::StartsWith("--set schedule.gpipe.microbatches=5: 5 microbatches"));
}

TEST(SweepPoint, wrong_keys_and_values_are_refused_before_anything_is_predicted) {
  EXPECT_EQ(refusal("ranks=2..8,queue=0:1,microbatches=4,schedule.ppll.forward=early:late,recompute=all:[0]"), "accepted");
  EXPECT_THAT(refusal("ranks=2:many"), testing::StartsWith("--over ranks=2:many: character 9, axis 'ranks': 'ranks' is a text; expected a whole number of at least 1"));
  EXPECT_THAT(refusal("batch=8,cluster.lanch=20us"), AllOf(HasSubstr("character 9, axis 'cluster.lanch': unknown key 'lanch' in [cluster]"), EndsWith("did you mean 'launch'?")));
  EXPECT_THAT(refusal("schedule.gpip.microbatches=2"), AllOf(HasSubstr("no [[schedule]] is called 'gpip'"), EndsWith("did you mean 'gpipe'?")));
  EXPECT_THAT(refusal("microbatches=0"), HasSubstr("axis 'microbatches': 'microbatches' is 0; expected"));
  EXPECT_THAT(refusal("queue=1:-1"), HasSubstr("character 9, axis 'queue': option 'queue'"));
  EXPECT_THAT(refusal("variant=serail"), HasSubstr("did you mean 'serial'?"));
}

TEST(SweepPoint, options_of_one_schedule_are_checked_as_those_of_all) {
  EXPECT_EQ(refusal("schedule.ppll.queue=1:4,schedule.sequential-local.variant=serial:overlapped"), "accepted");
  EXPECT_THAT(refusal("schedule.ppll.queue=1:x"), HasSubstr("character 23, axis 'schedule.ppll.queue': option 'queue' of schedule 'ppll' is 'x'; expected"));
  EXPECT_THAT(refusal("schedule.ppll.forward=erly"), HasSubstr("did you mean 'early'?"));
  EXPECT_THAT(refusal("batch=8,schedule.ppll.quue=1:2"), AllOf(HasSubstr("character 9, axis 'schedule.ppll.quue': schedule 'ppll' has no option 'quue'"), EndsWith("did you mean 'queue'?")));
  EXPECT_THAT(refusal("schedule.gpipe.clip=1"), HasSubstr("the option 'clip' follows from training.clip_norm; expected it there only"));
  EXPECT_THAT(refusal("schedule.gpipe.microbatches=2:x"), HasSubstr("character 31, axis 'schedule.gpipe.microbatches': 'microbatches' is a text"));
}

TEST(SweepPoint, an_option_of_no_schedule_of_the_sweep_is_refused) {
  EXPECT_THAT(refusal("waves=2"), HasSubstr("character 1, axis 'waves': no schedule of the sweep has an option 'waves'"));
  EXPECT_EQ(refusal("waves=2,schedule=all"), "accepted");
  EXPECT_THAT(refusal("queue=2,schedule=gpipe:1f1b"), HasSubstr("no schedule of the sweep has an option 'queue'"));
}

}  // namespace
}  // namespace bubblescope
