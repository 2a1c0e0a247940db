// Which experiments a real run has: what is skipped is returned, so that of several processes one tells it.
#include "bench/real_run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using testing::Contains;
using testing::ContainsRegex;
using testing::IsEmpty;
using testing::SizeIs;

Scenario scenario(const std::string& more = "") {
  return parse_scenario("[costs]\nsource = \"uniform\"\nuniform = {F = 1, B = 1}\n[backend]\nname = \"null\"\n[training]\nbatch = 8\n[[schedule]]\nname = \"gpipe\"\n" + more, "s.toml");
}

std::string with_all(Chosen& chosen) {
  ScheduleFlags flags;
  flags.schedule = "all";
  testing::internal::CaptureStderr();
  chosen = chosen_experiments(scenario(), flags);
  return testing::internal::GetCapturedStderr();
}

TEST(ChosenExperiments, of_all_those_that_cannot_be_are_skipped_and_nothing_is_printed_yet) {
  Chosen chosen;
  EXPECT_EQ(with_all(chosen), "");
  EXPECT_FALSE(chosen.experiments.empty());
  EXPECT_THAT(chosen.skipped, Contains(ContainsRegex("^dualpipe is skipped: .*even numbers of both")));
  testing::internal::CaptureStderr();
  tell_skipped(chosen);
  std::string expected;
  for (const std::string& line : chosen.skipped) expected += "bubblescope: " + line + "\n";
  EXPECT_EQ(testing::internal::GetCapturedStderr(), expected);
}

TEST(ChosenExperiments, without_all_a_schedule_that_cannot_be_is_an_error) {
  EXPECT_THAT(chosen_experiments(scenario(), {}).experiments, SizeIs(1));
  EXPECT_THAT(chosen_experiments(scenario(), {}).skipped, IsEmpty());
  ScheduleFlags flags;
  flags.schedule = "dualpipe";
  EXPECT_THROW(chosen_experiments(scenario(), flags), ShapeError);
}

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

TEST(MemoryNeeds, are_those_of_a_process_s_own_ranks) {
  const MemoryNeeds needs{{{1, 10}, {2, 20}, {3, 30}, {4, 40}}, {{5, 35}, {6, 10}, {7, 10}, {8, 10}}};
  EXPECT_EQ(bytes_needed(needs, {0, 4}, false), 100);
  EXPECT_EQ(bytes_needed(needs, {0, 2}, false), 45) << "the second experiment's";
  EXPECT_EQ(bytes_needed(needs, {2, 4}, false), 70);
  EXPECT_EQ(bytes_needed(needs, {2, 4}, true), 70 + 3 + 4 + 7 + 8);
}

TEST(MemoryNeeds, are_held_against_every_host_s_memory) {
  EXPECT_EQ(too_little_memory({{"", 3 * kGiB, 4 * kGiB}}), "");
  EXPECT_EQ(too_little_memory({{"", 5 * kGiB, 4 * kGiB}}), "data set, weights and activations need about 5.00 GiB of memory, but this machine has 4.00 GiB; it is not run");
  EXPECT_EQ(too_little_memory({{"a", 3 * kGiB, 4 * kGiB}, {"b", 3 * kGiB, 4 * kGiB}}), "") << "each has enough for its own";
  EXPECT_THAT(too_little_memory({{"a", 3 * kGiB, 8 * kGiB}, {"b", 3 * kGiB, 4 * kGiB}, {"b", 2 * kGiB, 4 * kGiB}}), ContainsRegex("about 5.00 GiB of memory, but host b has 4.00 GiB"));
  EXPECT_EQ(too_little_memory({{"a", 3 * kGiB, 0}}), "") << "nobody knows";
}

}  // namespace
}  // namespace bubblescope
