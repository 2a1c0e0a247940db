// Learning rates at the points where the formulas can be done in the head.
#include "backend/torch/learning_rate.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace bubblescope {
namespace {

TEST(LearningRate, warms_up_linearly_and_then_stays) {
  const LearningRate rate{.base = 0.8, .warmup = 4};
  EXPECT_DOUBLE_EQ(rate.at(0), 0.2);
  EXPECT_DOUBLE_EQ(rate.at(3), 0.8);
  EXPECT_DOUBLE_EQ(rate.at(1000), 0.8);
}

// Half a cosine from step 10 to step 110: full at 10, half at 60, (1 + cos(135 deg)) / 2 at 85.
TEST(LearningRate, cosine_falls_to_zero_at_the_end) {
  const LearningRate rate{.schedule = "cosine", .base = 2, .warmup = 10, .total = 110};
  EXPECT_DOUBLE_EQ(rate.at(9), 2);
  EXPECT_DOUBLE_EQ(rate.at(10), 2);
  EXPECT_NEAR(rate.at(60), 1, 1e-15);
  EXPECT_NEAR(rate.at(85), 1 - std::sqrt(0.5), 1e-15);
  EXPECT_EQ(rate.at(110), 0);
  EXPECT_EQ(rate.at(500), 0);
}

}  // namespace
}  // namespace bubblescope
