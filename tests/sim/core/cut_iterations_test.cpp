// Cutting the warm-up off a timeline.
#include "sim/core/cut_iterations.hpp"

#include <gtest/gtest.h>

#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

TEST(CutIterations, time_starts_with_the_first_op_that_is_left_and_waits_point_to_what_is_left) {
  TimelineBuilder builder(1, 1, 1);
  const auto first = builder.add(0, "0F0", 0, 10);
  const auto second = builder.add(0, "0F0", 15, 20, Wait::stream, first, 1);
  builder.add(0, "0B0", 21, 30, Wait::stream, second, 1);
  Timeline timeline = builder.timeline();
  timeline.iterations = 2;
  const Timeline cut = cut_iterations(timeline, 1);
  ASSERT_EQ(cut.spans.size(), 2u);
  EXPECT_EQ(cut.iterations, 1);
  EXPECT_EQ(cut.spans[0].start, 0);
  EXPECT_EQ(cut.spans[0].waited_for, -1);
  EXPECT_EQ(cut.spans[1].start, 6);
  EXPECT_EQ(cut.spans[1].end, 15);
  EXPECT_EQ(cut.spans[1].waited_for, 0);
  EXPECT_EQ(cut.spans[1].op.iteration, 0);
}

TEST(CutIterations, what_was_held_at_the_cut_is_held_at_the_start) {
  TimelineBuilder builder(1, 1, 1);
  builder.add(0, "0F0", 0, 10);
  builder.add(0, "0F0", 15, 20, Wait::nothing, -1, 1);
  Timeline timeline = builder.timeline();
  timeline.iterations = 2;
  timeline.memory = {{{0, 100}, {10, 70}, {15, 90}, {20, 80}}};
  const Timeline cut = cut_iterations(timeline, 1);
  ASSERT_EQ(cut.memory.size(), 1u);
  ASSERT_EQ(cut.memory[0].size(), 2u);
  EXPECT_EQ(cut.memory[0][0].time, 0);
  EXPECT_EQ(cut.memory[0][0].bytes, 90);
  EXPECT_EQ(cut.memory[0][1].time, 5);
  EXPECT_EQ(cut.memory[0][1].bytes, 80);
  timeline.memory = {{{0, 100}, {10, 70}, {16, 90}}};
  EXPECT_EQ(cut_iterations(timeline, 1).memory[0].front().bytes, 70);  // since before the cut
}

}  // namespace
}  // namespace bubblescope
