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

}  // namespace
}  // namespace bubblescope
