// Axes of a sweep: how they are written, in which order points follow, and what messages say.
#include "sim/scenario/sweep_axes.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "sim/core/error.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

std::vector<SweepAxis> axes(const std::string& text) { return parse_axes(std::vector<std::string>{text}); }

std::vector<std::string> values(const std::string& text) {
  std::vector<std::string> texts;
  const std::vector<SweepAxis> found = axes(text);
  for (const AxisValue& value : found.at(0).values) texts.push_back(value.text);
  return texts;
}

std::string refusal(const std::string& text) {
  try {
    axes(text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(SweepAxes, values_are_listed_doubled_or_counted_up) {
  EXPECT_THAT(values("ranks=2:4:7"), ElementsAre("2", "4", "7"));
  EXPECT_THAT(values("ranks=4..64"), ElementsAre("4", "8", "16", "32", "64"));
  EXPECT_THAT(values("ranks=3..50"), ElementsAre("3", "6", "12", "24", "48"));
  EXPECT_THAT(values("ranks=0..10+4"), ElementsAre("0", "4", "8"));
  EXPECT_THAT(values("ranks=5..5"), ElementsAre("5"));
  EXPECT_THAT(values("ranks=1:2..8:100"), ElementsAre("1", "2", "4", "8", "100"));
  EXPECT_THAT(values("latency=10us..40us:1ms"), ElementsAre("10us", "20us", "40us", "1ms"));
  EXPECT_THAT(values("latency=10us..30us+10us"), ElementsAre("10us", "20us", "30us"));
}

TEST(SweepAxes, quotes_and_brackets_keep_commas_and_colons) {
  const auto found = axes("cluster.channel=\"rank,eager=64KiB\":async, model.image=[3, 32, 32]:[3,64,64] ,costs.uniform={F=1,B=[2,\"3us\"]}");
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].values[0].text, "\"rank,eager=64KiB\"");
  EXPECT_EQ(found[0].values[1].text, "async");
  EXPECT_EQ(found[1].name, "model.image");
  EXPECT_EQ(found[1].values[0].text, "[3, 32, 32]");
  EXPECT_EQ(found[1].values[1].text, "[3,64,64]");
  EXPECT_EQ(found[1].values[1].column, 67u);
  EXPECT_EQ(found[2].values[0].text, "{F=1,B=[2,\"3us\"]}");
  EXPECT_THAT(values("scenario.title='a:b\\':\"c\\\":d\":it's"), ElementsAre("'a:b\\'", "\"c\\\":d\"", "it's"));
}

TEST(SweepAxes, short_names_are_found) {
  const auto found = axes("ranks=1,batch=64,threads=1,microbatches=4,queue=1,clip=0:1,depth=4,recompute=all,training.schedule=cosine");
  std::vector<std::string> keys;
  for (const SweepAxis& axis : found) keys.push_back(axis.key);
  EXPECT_THAT(keys, ElementsAre("cluster.ranks", "training.batch", "backend.threads", "microbatches", "queue", "training.clip_norm", "model.depth", "recompute", "training.schedule"));
  EXPECT_EQ(found[0].what, SweepAxis::What::key);
  EXPECT_EQ(found[3].what, SweepAxis::What::of_schedules);
  EXPECT_EQ(found[4].what, SweepAxis::What::of_schedules);
  EXPECT_EQ(found[0].name, "ranks");
}

TEST(SweepAxes, all_schedules_come_in_the_registrys_order) {
  const auto found = axes("schedule=all");
  ASSERT_EQ(found[0].values.size(), schedules().size());
  for (std::size_t i = 0; i < schedules().size(); ++i) EXPECT_EQ(found[0].values[i].text, schedules()[i].name);
  EXPECT_THAT(values("schedule=1f1b:ppll"), ElementsAre("1f1b", "ppll"));
}

TEST(SweepAxes, the_last_axis_is_the_fastest) {
  const auto found = parse_axes(std::vector<std::string>{"ranks=2:4,batch=1:2:3", "seed=7:8"});
  ASSERT_EQ(point_count(found), 12);
  EXPECT_THAT(point_values(found, 0), ElementsAre("2", "1", "7"));
  EXPECT_THAT(point_values(found, 1), ElementsAre("2", "1", "8"));
  EXPECT_THAT(point_values(found, 2), ElementsAre("2", "2", "7"));
  EXPECT_THAT(point_values(found, 6), ElementsAre("4", "1", "7"));
  EXPECT_THAT(point_values(found, 11), ElementsAre("4", "3", "8"));
}

TEST(SweepAxes, messages_name_the_flag_the_axis_and_the_place) {
  EXPECT_THAT(refusal(""), StartsWith("--over : character 1: there is no axis; expected KEY=VALUES"));
  EXPECT_THAT(refusal("ranks=2,"), StartsWith("--over ranks=2,: character 9: there is no axis"));
  EXPECT_THAT(refusal("ranks=2,4"), StartsWith("--over ranks=2,4: character 9, axis '4': it has no '='; expected KEY=VALUES, the values of one axis separated by colons"));
  EXPECT_THAT(refusal("=2"), HasSubstr("character 1: there is no key before '='"));
  EXPECT_THAT(refusal("ranks="), HasSubstr("character 7, axis 'ranks': there is no value"));
  EXPECT_THAT(refusal("batch=2:,ranks=1"), HasSubstr("character 9, axis 'batch': there is no value"));
  EXPECT_THAT(refusal("rank=2"), AllOf(HasSubstr("character 1, axis 'rank': unknown key; expected"), EndsWith("did you mean 'ranks'?")));
  EXPECT_THAT(refusal("batch=1,quue=2"), AllOf(HasSubstr("character 9, axis 'quue': unknown key"), EndsWith("did you mean 'queue'?")));
  EXPECT_THAT(refusal("name=a"), HasSubstr("several sections have such a key; expected one of scenario.name, model.name"));
  EXPECT_THAT(refusal("schedule=ppll:1f1bb"), AllOf(HasSubstr("character 15, axis 'schedule': "), HasSubstr("did you mean '1f1b'?")));
  EXPECT_THAT(refusal("model.image=[3, 32"), HasSubstr("character 13, axis 'model.image': the value does not end; expected a closing ]"));
  EXPECT_THAT(refusal("title=\"a"), HasSubstr("expected a closing \""));
}

TEST(SweepAxes, what_is_given_twice_is_refused) {
  EXPECT_THAT(refusal("ranks=2:4:2"), HasSubstr("character 11, axis 'ranks': '2' is given twice"));
  EXPECT_THAT(refusal("ranks=2..8:4"), HasSubstr("character 12, axis 'ranks': '4' is given twice"));
  EXPECT_THAT(refusal("schedule=all:ppll"), HasSubstr("'ppll' is given twice"));
  EXPECT_THAT(refusal("ranks=2,cluster.ranks=4"), HasSubstr("character 9, axis 'cluster.ranks': the axis 'ranks' is of the same key"));
}

TEST(SweepAxes, what_another_axis_sets_in_every_schedule_is_refused) {
  EXPECT_THAT(refusal("queue=0:1,schedule.ppll.queue=2:4"), EndsWith("character 11, axis 'schedule.ppll.queue': the axis 'queue' sets the same; expected one of them"));
  EXPECT_THAT(refusal("schedule.gpipe.microbatches=2,microbatches=4"), EndsWith("character 31, axis 'microbatches': the axis 'schedule.gpipe.microbatches' sets the same; expected one of them"));
  EXPECT_EQ(refusal("queue=0:1,schedule.ppll.forward=late,schedule.gpipe.microbatches=4"), "accepted");
}

TEST(SweepAxes, ranges_that_are_none_are_refused) {
  for (const std::string range : {"4..", "4..x", "4..8+", "4..8x", "4..8+2x", "4...8", "1.5..3", "1234567890123456789..2"}) {
    EXPECT_THAT(refusal("ranks=" + range), AllOf(HasSubstr("character 7, axis 'ranks': the range '" + range + "' "), HasSubstr("LOW..HIGH+STEP"))) << range;
  }
  EXPECT_THAT(refusal("ranks=8..4"), HasSubstr("ends before it begins"));
  EXPECT_THAT(refusal("ranks=0..4"), HasSubstr("doubles 0"));
  EXPECT_THAT(refusal("ranks=1..4+0"), HasSubstr("adds nothing"));
  EXPECT_THAT(refusal("latency=1us..4ms"), HasSubstr("has different units"));
  EXPECT_THAT(values("data.path=../a..b"), ElementsAre("../a..b"));
}

TEST(SweepAxes, a_grid_has_at_most_a_million_points) {
  EXPECT_EQ(point_count(axes("seed=1..1000+1,batch=1..1000+1")), kMostPoints);
  EXPECT_THAT(refusal("seed=1..1000+1,batch=1..1001+1"), HasSubstr("character 16, axis 'batch': with it the grid has 1001000 points or more; expected at most 1000000"));
  EXPECT_THAT(refusal("seed=0..999999999999999999+1"), HasSubstr("axis 'seed': it has more than 1000000 values"));
}

TEST(SweepAxes, any_text_is_read_or_refused_with_the_flag) {
  EXPECT_TRUE(rc::check([] {
    const auto text = *rc::gen::container<std::string>(rc::gen::elementOf(std::string("ranks=2:4,..+[]{}\"'\\ \n\xff" "0123456789")));
    try {
      for (const SweepAxis& axis : axes(text)) RC_ASSERT(!axis.values.empty());
    } catch (const InputError& error) {
      RC_ASSERT(std::string(error.what()).starts_with("--over " + text + ": character "));
    }
    try {
      for (const SweepAxis& axis : axes("seed=" + text)) RC_ASSERT(!axis.values.empty());
    } catch (const InputError& error) {
      RC_ASSERT(std::string(error.what()).starts_with("--over seed=" + text + ": character "));
    }
  }));
}

}  // namespace
}  // namespace bubblescope
