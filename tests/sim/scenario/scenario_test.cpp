// Tests of reading scenarios: values, defaults, and the place and words of every kind of mistake.
#include "sim/scenario/scenario.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <fstream>
#include <sstream>

#include "sim/core/error.hpp"
#include "tests/source_dir.hpp"

namespace bubblescope {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

/// The message with which a text is refused; empty where it is accepted.
std::string refusal(const std::string& text) {
  try {
    parse_scenario(text, "dir/a.toml");
  } catch (const InputError& error) {
    return error.what();
  }
  return {};
}

const std::string kSchedule = "[[schedule]]\nname = \"gpipe\"\n";

TEST(Scenario, one_schedule_is_all_that_must_be_given) {
  const Scenario scenario = parse_scenario(kSchedule, "dir/first.toml");
  EXPECT_EQ(scenario.name, "first");
  EXPECT_EQ(scenario.model.name, "resnet32");
  EXPECT_EQ(scenario.training.batch, 128);
  EXPECT_EQ(scenario.text, kSchedule);
  ASSERT_EQ(scenario.schedules.size(), 1u);
  EXPECT_EQ(scenario.schedules[0].label, "gpipe");
  EXPECT_EQ(scenario.schedules[0].microbatches, 0);
}

TEST(Scenario, every_type_of_value_is_read) {
  const Scenario s = parse_scenario(R"(
[scenario]
seed = 7
title = "t"
[model]
name = "vit"
image = [3, 96, 96]
patch = 8
dropout = 0
[data]
augment = true
[training]
learning_rate = 1
[auxiliary]
name = "greedy"
[cluster]
ranks = 2
latency = "20us"
bandwidth = "100Gbit/s"
memory = "1GiB"
launch = 0.5
[costs]
source = "uniform"
uniform = {F = "1ms", LB = [2, "0.5us"]}
[backend]
cores = [[0, 1], [2]]
[output]
folder = "elsewhere"
formats = ["json"]
[[schedule]]
queue = 3
forward = "late"
name = "ppll"
microbatches = 4
)", "a.toml");
  EXPECT_EQ(s.seed, 7u);
  EXPECT_EQ(s.model.image, (std::vector<std::int64_t>{3, 96, 96}));
  EXPECT_TRUE(s.data.augment);
  EXPECT_EQ(s.training.learning_rate, 1.0);
  EXPECT_EQ(s.cluster.link.latency, 20'000);
  EXPECT_EQ(s.cluster.link.bandwidth, 12.5e9);
  EXPECT_EQ(s.cluster.memory, 1 << 30);
  EXPECT_EQ(s.cluster.launch, 500'000);  // a bare number is milliseconds
  EXPECT_EQ(s.costs.uniform.at("F"), (std::vector<Nanos>{1'000'000}));
  EXPECT_EQ(s.costs.uniform.at("LB"), (std::vector<Nanos>{2'000'000, 500}));
  EXPECT_EQ(s.backend.cores, (std::vector<std::vector<int>>{{0, 1}, {2}}));
  EXPECT_EQ(s.output.folder, "elsewhere");
  EXPECT_EQ(s.schedules[0].label, "ppll forward=late queue=3");
  EXPECT_EQ(s.schedules[0].options.at("queue"), "3");
  EXPECT_EQ(s.schedules[0].microbatches, 4);
}

TEST(Scenario, relative_paths_start_at_the_scenarios_folder) {
  const std::string text = "[costs]\nsource = \"profile\"\nprofile = \"p.json\"\n" + kSchedule;
  EXPECT_EQ(parse_scenario(text, "dir/a.toml").costs.profile, "dir/p.json");
  EXPECT_EQ(parse_scenario(text, "a.toml").costs.profile, "p.json");
  EXPECT_EQ(parse_scenario("[costs]\nsource = \"profile\"\nprofile = \"/p.json\"\n" + kSchedule, "dir/a.toml").costs.profile,
            "/p.json");
}

TEST(Scenario, an_unknown_key_is_told_with_its_place_and_the_nearest_name) {
  EXPECT_THAT(refusal("[training]\nlearning_rate = 1\n  bacth = 64\n" + kSchedule),
              AllOf(StartsWith("dir/a.toml:3:3: unknown key 'bacth' in [training]; expected one of batch, epochs"),
                    HasSubstr("; did you mean 'batch'?")));
}

TEST(Scenario, a_key_of_another_section_is_told_where_it_belongs) {
  EXPECT_THAT(refusal("[model]\nbatch = 64\n" + kSchedule),
              AllOf(StartsWith("dir/a.toml:2:1: unknown key 'batch' in [model]"), HasSubstr("'batch' is a key of [training]")));
  EXPECT_THAT(refusal("batch = 64\n" + kSchedule),
              AllOf(StartsWith("dir/a.toml:1:1: the key 'batch' stands outside any section"), HasSubstr("in [training]")));
}

TEST(Scenario, an_unknown_section_is_told_with_the_nearest_name) {
  EXPECT_THAT(refusal(kSchedule + "\n[cluser]\nranks = 2\n"),
              AllOf(StartsWith("dir/a.toml:4:2: unknown section [cluser]; expected one of scenario, model"),
                    HasSubstr("did you mean 'cluster'?")));
}

TEST(Scenario, a_list_section_takes_double_brackets_and_only_that) {
  EXPECT_THAT(refusal("[schedule]\nname = \"gpipe\"\n"), HasSubstr("expected one or more sections [[schedule]]"));
  EXPECT_THAT(refusal("[[model]]\nname = \"mlp\"\n" + kSchedule), HasSubstr("expected a section [model]"));
  EXPECT_THAT(refusal("model = 3\n" + kSchedule), StartsWith("dir/a.toml:1:1: 'model' is a whole number; expected a section [model]"));
  EXPECT_THAT(refusal("schedule = [1, 2]\n"), HasSubstr("expected one or more sections [[schedule]]"));
}

TEST(Scenario, a_value_of_the_wrong_type_is_told_with_what_was_expected) {
  EXPECT_THAT(refusal("[training]\nbatch = \"64\"\n" + kSchedule),
              StartsWith("dir/a.toml:2:9: 'batch' is a text; expected a whole number of at least 1"));
  EXPECT_THAT(refusal("[training]\nbatch = 64.5\n" + kSchedule), StartsWith("dir/a.toml:2:9: 'batch' is a number; expected a whole"));
  EXPECT_THAT(refusal("[data]\naugment = 1\n" + kSchedule), StartsWith("dir/a.toml:2:11: 'augment' is a whole number; expected true or false"));
  EXPECT_THAT(refusal("[model]\nimage = 32\n" + kSchedule), HasSubstr("expected a list of whole numbers"));
  EXPECT_THAT(refusal("[model]\nimage = []\n" + kSchedule), HasSubstr("empty list"));
  EXPECT_THAT(refusal("[model]\nimage = [3, 32, \"32\"]\n" + kSchedule), StartsWith("dir/a.toml:2:17: "));
  EXPECT_THAT(refusal("[cluster]\nlatency = true\n" + kSchedule), HasSubstr("expected a duration such as"));
  EXPECT_THAT(refusal("[costs]\nuniform = 3\n" + kSchedule), HasSubstr("expected a table of durations"));
  EXPECT_THAT(refusal("[auxiliary]\nweights = {a = \"x\"}\n" + kSchedule), HasSubstr("expected a table of numbers"));
  EXPECT_THAT(refusal("[scenario]\ntitle = 2024-11-19\n" + kSchedule), HasSubstr("'title' is a date or time; expected a text"));
  EXPECT_THAT(refusal("[[schedule]]\nname = \"ppll\"\nqueue = [1]\n"), HasSubstr("the option 'queue' is a list"));
  const std::string stages = "expected \"all\" or a list of stage numbers";
  EXPECT_THAT(refusal(kSchedule + "recompute = true\n"), AllOf(StartsWith("dir/a.toml:3:13: 'recompute' is true or false; "), HasSubstr(stages)));
  EXPECT_THAT(refusal(kSchedule + "recompute = \"some\"\n"), AllOf(StartsWith("dir/a.toml:3:13: 'recompute' is a text; "), HasSubstr(stages)));
  EXPECT_THAT(refusal(kSchedule + "recompute = [0, \"1\"]\n"), AllOf(StartsWith("dir/a.toml:3:17: "), HasSubstr(stages)));
  EXPECT_THAT(refusal(kSchedule + "recompute = []\n"), HasSubstr("empty list"));
}

TEST(Scenario, a_schedule_that_recomputes_is_told_from_the_same_without) {
  const Scenario scenario = parse_scenario(kSchedule + kSchedule + "recompute = \"all\"\n" + kSchedule + "recompute = [1, 0]\n[[schedule]]\nname = \"ppll\"\nrecompute = [1]\nqueue = 3\n", "a.toml");
  std::vector<std::string> labels;
  for (const ScheduleConfig& schedule : scenario.schedules) labels.push_back(schedule.label);
  EXPECT_EQ(labels, (std::vector<std::string>{"gpipe", "gpipe recompute=all", "gpipe recompute=1:0", "ppll queue=3 recompute=1"}));
  EXPECT_EQ(parse_scenario(kSchedule, "a.toml", std::vector<std::string>{"schedule.gpipe.recompute=[1]"}).schedules[0].recompute, "1");
  EXPECT_EQ(parse_scenario(kSchedule, "a.toml", std::vector<std::string>{"schedule.gpipe.recompute=all"}).schedules[0].recompute, "all");
}

TEST(Scenario, a_value_out_of_range_is_told_with_the_range) {
  EXPECT_THAT(refusal("[training]\nbatch = 0\n" + kSchedule), StartsWith("dir/a.toml:2:9: 'batch' is 0; expected a whole number of at least 1"));
  EXPECT_THAT(refusal("[training]\nlearning_rate = 0.0\n" + kSchedule), HasSubstr("expected a number above 0"));
  EXPECT_THAT(refusal("[training]\nlearning_rate = nan\n" + kSchedule), HasSubstr("expected a number above 0"));
  EXPECT_THAT(refusal("[training]\nlearning_rate = inf\n" + kSchedule), HasSubstr("'learning_rate' is inf"));
  EXPECT_THAT(refusal("[model]\nclasses = 2000000000\n" + kSchedule), HasSubstr("expected at most 1000000"));
  EXPECT_THAT(refusal("[scenario]\nseed = -1\n" + kSchedule), HasSubstr("of at least 0"));
  EXPECT_THAT(refusal("[cluster]\nranks = 99999999999\n" + kSchedule), HasSubstr("expected at most 4096"));
  EXPECT_THAT(refusal("[cluster]\nlatency = \"-1us\"\n" + kSchedule), StartsWith("dir/a.toml:2:11: 'latency': "));
  EXPECT_THAT(refusal("[cluster]\nbandwidth = \"100Gb/s\"\n" + kSchedule), HasSubstr("unknown unit 'Gb/s'"));
}

TEST(Scenario, an_unknown_name_is_told_with_the_nearest_one) {
  EXPECT_THAT(refusal("[model]\nname = \"resnet23\"\n" + kSchedule), StartsWith("dir/a.toml:2:1: "));
  EXPECT_THAT(refusal("[auxiliary]\nname = \"gredy\"\n" + kSchedule),
              AllOf(StartsWith("dir/a.toml:2:8: unknown auxiliary 'gredy'"), HasSubstr("did you mean 'greedy'?")));
  EXPECT_THAT(refusal("[cluster]\ndevice = \"h20\"\n" + kSchedule), HasSubstr("unknown device 'h20'"));
  EXPECT_THAT(refusal("[data]\nset = \"cifar11\"\n" + kSchedule), HasSubstr("unknown set 'cifar11'"));
  EXPECT_THAT(refusal("[[schedule]]\nname = \"gpip\"\n"),
              AllOf(StartsWith("dir/a.toml:2:8: unknown schedule 'gpip'"), HasSubstr("did you mean 'gpipe'?")));
  EXPECT_THAT(refusal("[costs]\nsource = \"uniform\"\nuniform = {G = 1}\n" + kSchedule), StartsWith("dir/a.toml:3:12: unknown uniform 'G'"));
  EXPECT_THAT(refusal("[output]\nformats = [\"pdf\"]\n" + kSchedule), StartsWith("dir/a.toml:2:12: unknown formats 'pdf'"));
}

TEST(Scenario, broken_toml_is_told_with_its_place) {
  EXPECT_THAT(refusal("[model]\nname = \"vit\n"), AllOf(StartsWith("dir/a.toml:2:"), HasSubstr("expected valid TOML")));
  EXPECT_THAT(refusal("[model]\nname = \"vit\"\nname = \"mlp\"\n"), StartsWith("dir/a.toml:3:"));
  EXPECT_THAT(refusal(std::string("[model]\nname = \"\xff\"\n")), StartsWith("dir/a.toml:2:"));
}

TEST(Scenario, a_schedule_needs_a_name_and_a_scenario_a_schedule) {
  EXPECT_THAT(refusal("[[schedule]]\nqueue = 2\n"), StartsWith("dir/a.toml:1:"));
  EXPECT_THAT(refusal("[[schedule]]\nqueue = 2\n"), HasSubstr("has no name"));
  EXPECT_THAT(refusal(""), StartsWith("dir/a.toml: there is no schedule; expected"));
}

TEST(Scenario, a_damaged_text_is_read_or_refused_with_its_file_and_nothing_else_happens) {
  std::ostringstream demo;
  demo << std::ifstream(source_dir() / "scenarios" / "demo.toml").rdbuf();
  const std::string text = demo.str();
  ASSERT_FALSE(text.empty());
  EXPECT_TRUE(rc::check([&] {
    // A stretch of the text is replaced by a few characters that TOML cares about.
    const auto first = *rc::gen::inRange<std::size_t>(0, text.size());
    const auto count = *rc::gen::inRange<std::size_t>(0, 12);
    const auto inserted = *rc::gen::container<std::string>(rc::gen::elementOf(std::string("[]{}=\"'#.,\n0-9aeE_x\\")));
    std::string damaged = text;
    damaged.replace(first, count, inserted);
    try {
      parse_scenario(damaged, "a.toml");
    } catch (const InputError& error) {
      RC_ASSERT(std::string(error.what()).starts_with("a.toml:"));
    }
  }));
}

TEST(Scenario, a_file_that_cannot_be_read_is_told) {
  const auto missing = [](const std::filesystem::path& file) -> std::string {
    try {
      read_scenario(file);
    } catch (const InputError& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_THAT(missing("no-such-folder/a.toml"), StartsWith("no-such-folder/a.toml: cannot be read; expected"));
  EXPECT_THAT(missing(source_dir().string()), HasSubstr("is a folder; expected"));
}

TEST(Scenario, a_file_is_read_verbatim) {
  const auto file = std::filesystem::path(testing::TempDir()) / "bubblescope_scenario_test.toml";
  std::ofstream(file) << "# A comment.\r\n" << kSchedule;
  const Scenario scenario = read_scenario(file);
  EXPECT_EQ(scenario.text, "# A comment.\r\n" + kSchedule);
  EXPECT_EQ(scenario.file, file);
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace bubblescope
