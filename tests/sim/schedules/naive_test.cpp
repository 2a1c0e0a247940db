// Order of the naive schedule.
#include <gtest/gtest.h>

#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

TEST(Naive, finishes_a_microbatch_before_the_next_starts) {
  const Program program = generate(find_schedule("naive"), {.ranks = 2, .microbatches = 2});
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,0B0,0F1,0B1,0U", "1F0,1B0,1F1,1B1,1U"}));
  EXPECT_EQ(program.profile, Profile::backprop);
  EXPECT_EQ(program.weights, WeightPolicy::flush);
}

}  // namespace
}  // namespace bubblescope
