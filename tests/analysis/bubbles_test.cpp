// Busy time, spans and the four bubble definitions.
#include "analysis/bubbles.hpp"

#include "sim/core/error.hpp"
#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

// 4 ranks, 8 microbatches, F = 1, B = 2: makespan (m+p-1)(F+B) = 33, busy 24 per rank. Rank r starts
// with its first F at r and ends with its last B r*B before the end: spans 33, 30, 27, 24.
// idle 36/132; overhead 9/24; span rate 9/33; internal (114-96)/114. These four are the published
// 27.27 %, 37.5 %, 27.27 %, 15.8 %.
TEST(Bubbles, of_1f1b_on_four_ranks_are_the_published_four) {
  const Bubbles b = bubbles(pipeline(4, 8, true, 1, 2));
  EXPECT_EQ(b.makespan, 33);
  EXPECT_EQ(b.span, 33);
  EXPECT_EQ(b.period, 33);
  EXPECT_DOUBLE_EQ(b.idle_fraction, 36.0 / 132);
  EXPECT_DOUBLE_EQ(b.overhead, 9.0 / 24);
  EXPECT_DOUBLE_EQ(b.span_rate, 9.0 / 33);
  EXPECT_DOUBLE_EQ(b.internal, 18.0 / 114);
  ASSERT_EQ(b.ranks.size(), 4u);
  for (int r = 0; r < 4; ++r) {
    EXPECT_EQ(b.ranks[r].busy, 24);
    EXPECT_EQ(b.ranks[r].span, 33 - 3 * r);
  }
}

// Two iterations of 0F0 (2) 0B0 (3), the second after a pause of 1: ends at 5 and 11.
TEST(Bubbles, span_is_of_the_first_iteration_and_period_is_between_iteration_ends) {
  TimelineBuilder builder(1, 1, 1);
  builder.add(0, "0F0", 0, 2);
  builder.add(0, "0B0", 2, 5);
  builder.add(0, "0F0", 6, 8, Wait::stream, 1, 1);
  builder.add(0, "0B0", 8, 11, Wait::stream, 2, 1);
  const Bubbles b = bubbles(builder.timeline());
  EXPECT_EQ(b.makespan, 11);
  EXPECT_EQ(b.span, 5);
  EXPECT_EQ(b.period, 6);
  EXPECT_EQ(b.ranks[0].busy, 10);
  EXPECT_DOUBLE_EQ(b.idle_fraction, 1.0 / 11);
  EXPECT_DOUBLE_EQ(b.overhead, 1.0 / 10);
  EXPECT_DOUBLE_EQ(b.span_rate, 0);
  EXPECT_DOUBLE_EQ(b.internal, 0);
}

TEST(Bubbles, sends_and_barriers_are_not_busy_but_count_for_the_makespan) {
  TimelineBuilder builder(2, 2, 1);
  const auto f = builder.add(0, "0F0", 0, 4);
  const auto send = builder.add(0, "0SEND_F0", 4, 9, Wait::data, f);
  builder.add(1, "1F0", 9, 10, Wait::transfer, send);
  builder.add(0, "0SEND_F1", 9, 12);
  const Bubbles b = bubbles(builder.timeline());
  EXPECT_EQ(b.makespan, 12);
  EXPECT_EQ(b.ranks[0].busy, 4);
  EXPECT_EQ(b.ranks[1].busy, 1);
  EXPECT_DOUBLE_EQ(b.idle_fraction, 1 - 5.0 / 24);
}

TEST(Bubbles, work_that_overlaps_on_one_rank_counts_once) {
  TimelineBuilder builder(1, 1, 2);
  builder.add(0, "0F0", 0, 10);
  builder.add(0, "0F1", 5, 8);
  builder.add(0, "0B0", 9, 12);
  EXPECT_EQ(bubbles(builder.timeline()).ranks[0].busy, 12);
}

TEST(Bubbles, of_nothing_are_zero) {
  Timeline empty;
  empty.ranks = 2;
  const Bubbles b = bubbles(empty);
  EXPECT_EQ(b.makespan, 0);
  EXPECT_EQ(b.idle_fraction, 0);
}

TEST(Bubbles, refuse_a_span_on_a_track_that_is_not_there) {
  TimelineBuilder builder(1, 1, 1);
  builder.add(0, "0F0", 0, 1);
  builder.timeline().spans[0].track = 7;
  EXPECT_THROW(bubbles(builder.timeline()), InputError);
}

}  // namespace
}  // namespace bubblescope
