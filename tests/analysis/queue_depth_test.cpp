// Entries in flight between ranks over time.
#include "analysis/queue_depth.hpp"

#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

// Entries accepted at 2, 4 and 6 and taken at 5, 6 and 10 of 20:
// depth 1 from 2, 2 from 4, 1 from 5; at 6 one is taken before one is accepted: 1 to 10.
// Area: 2 + 2 + 1 + 4 = 9.
TEST(QueueDepth, counts_from_acceptance_to_use) {
  TimelineBuilder builder(2, 2, 3);
  const Nanos accepted[] = {2, 4, 6}, taken[] = {5, 6, 10};
  for (int t = 0; t < 3; ++t) {
    builder.add(0, "0SEND_F" + std::to_string(t), accepted[t] - 1, accepted[t]);
    builder.add(1, "1F" + std::to_string(t), taken[t], taken[t] + 1);
  }
  builder.add(0, "0U0", 19, 20);
  const std::vector<ChannelDepth> depths = queue_depth(builder.timeline());
  ASSERT_EQ(depths.size(), 1u);
  EXPECT_EQ(depths[0], (ChannelDepth{0, 1, 2, 9.0 / 20}));
}

// The first entry is taken the moment it is accepted: never in the queue. Gradients go the other way.
TEST(QueueDepth, of_a_direct_hand_over_is_zero_and_gradients_have_their_own_channel) {
  TimelineBuilder builder(2, 2, 1);
  builder.add(0, "0SEND_F0", 0, 1);
  builder.add(1, "1F0", 1, 2);
  builder.add(1, "1SEND_B0", 2, 3);
  builder.add(0, "0I0", 6, 8);
  const std::vector<ChannelDepth> depths = queue_depth(builder.timeline());
  ASSERT_EQ(depths.size(), 2u);
  EXPECT_EQ(depths[0], (ChannelDepth{0, 1, 0, 0}));
  EXPECT_EQ(depths[1], (ChannelDepth{1, 0, 1, 3.0 / 8}));
}

// The second entry is accepted at 5, when the first is taken: never two.
TEST(QueueDepth, taking_comes_before_accepting) {
  TimelineBuilder builder(2, 2, 2);
  builder.add(0, "0SEND_F0", 0, 2);
  builder.add(0, "0SEND_F1", 2, 5);
  builder.add(1, "1F0", 5, 8);
  builder.add(1, "1F1", 8, 10);
  EXPECT_EQ(queue_depth(builder.timeline())[0], (ChannelDepth{0, 1, 1, 0.6}));
}

// A clock that is off: used before it was accepted.
TEST(QueueDepth, is_never_negative) {
  TimelineBuilder builder(2, 2, 1);
  builder.add(0, "0SEND_F0", 0, 5);
  builder.add(1, "1F0", 3, 10);
  EXPECT_EQ(queue_depth(builder.timeline())[0], (ChannelDepth{0, 1, 0, 0}));
}

// GPipe 2 ranks, m = 2, F = 1, B = 2, no sends in the Timeline: 0F0 ends 1 = 1F0 starts; 0F1 ends 2 =
// 1F1 starts; 1B0 ends 5 = 0B0 starts; 1B1 ends 7 = 0B1 starts: nothing ever waits.
TEST(QueueDepth, without_sends_counts_from_the_end_of_the_producer) {
  for (const ChannelDepth& depth : queue_depth(pipeline(2, 2, false, 1, 2))) EXPECT_EQ(depth.max_depth, 0);
  // With a slow second rank (stage 1 busy with 1U0 until 10) both forwards wait.
  TimelineBuilder builder(2, 2, 2);
  builder.as_early(1, "1U0", 10);
  const auto f0 = builder.as_early(0, "0F0", 1), f1 = builder.as_early(0, "0F1", 1);
  builder.as_early(1, "1F0", 1, f0);
  builder.as_early(1, "1F1", 1, f1);
  const std::vector<ChannelDepth> depths = queue_depth(builder.timeline());
  ASSERT_EQ(depths.size(), 1u);
  // From 1 to 10 and from 2 to 11, of 12.
  EXPECT_EQ(depths[0], (ChannelDepth{0, 1, 2, 18.0 / 12}));
}

TEST(QueueDepth, finds_the_consumer_inside_a_compound) {
  TimelineBuilder builder(2, 2, 2);
  builder.add(0, "0SEND_F1", 0, 1);
  builder.add(1, "(1F1;1B0)OVERLAP_F_B", 4, 6);
  const std::vector<ChannelDepth> depths = queue_depth(builder.timeline());
  ASSERT_EQ(depths.size(), 1u);
  EXPECT_EQ(depths[0], (ChannelDepth{0, 1, 1, 0.5}));
}

}  // namespace
}  // namespace bubblescope
