// Costs by microbatch size: between the known sizes, and where too little is known.
#include "sim/core/costs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string refusal(const Costs& costs, std::int64_t samples) {
  try {
    costs.at(samples);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Costs, sizes_between_known_ones_are_interpolated) {
  Costs costs;
  costs.by_size[8] = StageCosts(1);
  costs.by_size[16] = StageCosts(1);
  costs.by_size[8].at(0, Kind::F).duration = 100;
  costs.by_size[16].at(0, Kind::F).duration = 180;
  EXPECT_EQ(costs.at(12).at(0, Kind::F).duration, 140);
  EXPECT_EQ(costs.at(32).at(0, Kind::F).duration, 340);
  EXPECT_EQ(costs.at(16).at(0, Kind::F).duration, 180);
  EXPECT_THROW(Costs{}.at(1), InputError);
}

TEST(Costs, one_known_size_says_nothing_of_others) {
  Costs costs;
  costs.source = "profile of a CPU";
  costs.by_size[64] = StageCosts(1);
  EXPECT_EQ(refusal(costs, 64), "no error");
  EXPECT_THAT(refusal(costs, 32), AllOf(HasSubstr("32 samples"), HasSubstr("only 64"), HasSubstr("profile of a CPU")));
}

TEST(Costs, sizes_must_be_known_for_the_same_stages) {
  Costs costs;
  costs.by_size[8] = StageCosts(1);
  costs.by_size[16] = StageCosts(3);
  EXPECT_THAT(refusal(costs, 12), AllOf(HasSubstr("1 stage"), HasSubstr("3")));
  EXPECT_THAT(refusal(costs, 100), AllOf(HasSubstr("1 stage"), HasSubstr("3")));
}

}  // namespace
}  // namespace bubblescope
