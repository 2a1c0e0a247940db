// Overrides of scenario values: what they set, how their values are read, and whom errors blame.
#include "sim/scenario/overrides.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "sim/core/error.hpp"
#include "sim/scenario/scenario.hpp"

namespace bubblescope {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kText = R"([training]
batch = 64
[cluster]
ranks = 2
[[schedule]]
name = "ppll"
queue = 2
[[schedule]]
name = "sequential-local"
[[schedule]]
name = "sequential-local"
variant = "overlapped"
label = "beside"
[[schedule]]
name = "gpipe"
microbatches = 4
)";

Scenario with(const std::vector<std::string>& overrides) { return parse_scenario(kText, "a.toml", overrides); }

std::string refusal(const std::vector<std::string>& overrides) {
  try {
    with(overrides);
  } catch (const InputError& error) {
    return error.what();
  }
  return {};
}

TEST(Overrides, a_value_is_set_whether_or_not_the_file_gives_it) {
  const Scenario s = with({"training.batch=32", "cluster.launch=20us", "auxiliary.name=dgl", "cluster.bandwidth=10GB/s"});
  EXPECT_EQ(s.training.batch, 32);
  EXPECT_EQ(s.cluster.launch, 20'000);
  EXPECT_EQ(s.auxiliary.name, "dgl");
  EXPECT_EQ(s.cluster.link.bandwidth, 10e9);
  EXPECT_EQ(s.cluster.ranks, 2);
}

TEST(Overrides, a_value_is_toml_where_it_can_be_read_as_such_else_a_text) {
  const Scenario s = with({"model.image=[3, 64, 64]", "training.nesterov=false", "training.learning_rate=1e-3", "scenario.title=a = \"b\" \\ c",
                           "scenario.name=\"64\"", "cluster.latency=2"});
  EXPECT_EQ(s.model.image, (std::vector<std::int64_t>{3, 64, 64}));
  EXPECT_FALSE(s.training.nesterov);
  EXPECT_EQ(s.training.learning_rate, 1e-3);
  EXPECT_EQ(s.title, "a = \"b\" \\ c");
  EXPECT_EQ(s.name, "64");
  EXPECT_EQ(s.cluster.link.latency, 2'000'000);
  EXPECT_EQ(parse_scenario(kText, "a.toml", std::vector<std::string>{"costs.uniform={F = \"1ms\", B = [2, 3]}", "costs.source=uniform"}).costs.uniform.at("B"),
            (std::vector<Nanos>{2'000'000, 3'000'000}));
}

TEST(Overrides, a_value_cannot_smuggle_in_another_key) {
  const Scenario s = with({"scenario.title='a'\n[training]\nbatch = 32", "scenario.name='b'\nseed = 3"});
  EXPECT_EQ(s.training.batch, 64);
  EXPECT_EQ(s.seed, 0u);
  EXPECT_EQ(s.title, "'a'\n[training]\nbatch = 32");
}

TEST(Overrides, a_schedule_is_meant_by_its_name_or_its_label_and_all_of_a_name_are) {
  const Scenario s = with({"schedule.gpipe.microbatches=8", "schedule.sequential-local.microbatches=3", "schedule.beside.microbatches=5", "schedule.ppll.queue=7"});
  ASSERT_EQ(s.schedules.size(), 4u);
  EXPECT_EQ(s.schedules[0].options.at("queue"), "7");
  EXPECT_EQ(s.schedules[0].label, "ppll queue=7");
  EXPECT_EQ(s.schedules[1].microbatches, 3);
  EXPECT_EQ(s.schedules[2].microbatches, 5);
  EXPECT_EQ(s.schedules[2].label, "beside");
  EXPECT_EQ(s.schedules[3].name, "gpipe");
  EXPECT_EQ(s.schedules[3].microbatches, 8);
}

TEST(Overrides, the_last_one_of_a_key_counts) { EXPECT_EQ(with({"training.batch=16", "training.batch=32"}).training.batch, 32); }

TEST(Overrides, errors_name_the_flag_as_their_place) {
  EXPECT_THAT(refusal({"cluster.lanch=20us"}), AllOf(StartsWith("--set cluster.lanch=20us: unknown key 'lanch' in [cluster]; expected one of ranks"),
                                                     EndsWith("did you mean 'launch'?")));
  EXPECT_THAT(refusal({"cluser.launch=20us"}), AllOf(StartsWith("--set cluser.launch=20us: unknown section [cluser]"), EndsWith("did you mean 'cluster'?")));
  EXPECT_THAT(refusal({"training.batch=many"}), StartsWith("--set training.batch=many: 'batch' is a text; expected a whole number of at least 1"));
  EXPECT_THAT(refusal({"training.batch=0"}), StartsWith("--set training.batch=0: 'batch' is 0; expected"));
  EXPECT_THAT(refusal({"auxiliary.name=gredy"}), AllOf(StartsWith("--set auxiliary.name=gredy: unknown auxiliary"), HasSubstr("did you mean 'greedy'?")));
  EXPECT_THAT(refusal({"schedule.ppll.queue=-1"}), StartsWith("--set schedule.ppll.queue=-1: option 'queue'"));
  EXPECT_THAT(refusal({"schedule.pppl.queue=1"}), AllOf(StartsWith("--set schedule.pppl.queue=1: no [[schedule]] is called 'pppl'; expected one of ppll"),
                                                       EndsWith("did you mean 'ppll'?")));
}

TEST(Overrides, contradictions_blame_the_flag_that_gave_the_value) {
  EXPECT_THAT(refusal({"schedule.gpipe.microbatches=7"}), StartsWith("--set schedule.gpipe.microbatches=7: 7 microbatches"));
  // The flag's value is fine alone; the file's no longer fits it, and the file gave that one.
  EXPECT_THAT(refusal({"training.batch=63"}), StartsWith("a.toml:16:1: 4 microbatches"));
}

TEST(Overrides, what_is_no_override_is_refused_with_the_form_expected) {
  for (const char* text : {"training.batch", "batch=64", "=64", "schedule.microbatches=8"}) {
    EXPECT_THAT(refusal({text}), AllOf(StartsWith(std::string("--set ") + text + ": "), HasSubstr("KEY=VALUE"))) << text;
  }
}

TEST(Overrides, the_kept_text_tells_them) {
  const Scenario s = with({"training.batch=32", "scenario.title=two\nlines"});
  EXPECT_EQ(s.text, kText + "\n# Overridden on the command line:\n# --set training.batch=32\n# --set scenario.title=two lines\n");
  EXPECT_EQ(parse_scenario(s.text, "again.toml").training.batch, 64);  // a comment, no value
}

TEST(Overrides, any_text_is_read_or_refused_with_the_flag_and_sets_no_other_key) {
  EXPECT_TRUE(rc::check([] {
    const auto value = *rc::gen::container<std::string>(rc::gen::elementOf(std::string("[]{}=\"'#.,\n\r\t 019aeE_x\\\xff\x01")));
    try {
      const Scenario s = with({"scenario.title=" + value});
      RC_ASSERT(s.training.batch == 64);
      RC_ASSERT(s.schedules.size() == 4u);
    } catch (const InputError& error) {
      RC_ASSERT(std::string(error.what()).starts_with("--set scenario.title="));
    }
  }));
}

}  // namespace
}  // namespace bubblescope
