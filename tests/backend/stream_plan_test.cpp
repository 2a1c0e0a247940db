// Lanes, waits and who is told.
#include "backend/stream_plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/backend/stream_runs.hpp"

namespace bubblescope {
namespace {

using testing::ElementsAre;

Program gpipe(const char* mode) {
  Program order = generate(find_schedule("gpipe"), {.ranks = 2, .microbatches = 2});
  order.channels = {channel_mode(mode)};
  return add_send_recv(order);
}

OpIndex find(const Program& program, const std::string& name) {
  OpIndex index = 0;
  for (const auto& row : program.rows) {
    for (const Op& op : row) {
      if (cell(op) == name) return index;
      ++index;
    }
  }
  throw std::logic_error("no " + name);
}

TEST(StreamPlan, compute_is_a_ranks_first_lane_and_every_fifo_has_one) {
  const Program program = gpipe("data");
  const StreamPlan plan(program, {});
  for (Rank r = 0; r < 2; ++r) {
    const auto& lanes = plan.lanes_of[at(r)];
    ASSERT_EQ(lanes.size(), 3u);  // computing, activations, gradients
    EXPECT_EQ(plan.lanes[at(lanes[0])].spec.kind, StreamKind::compute);
    EXPECT_EQ(plan.lanes[at(lanes[1])].spec.kind, StreamKind::communication);
    EXPECT_EQ(plan.lanes[at(lanes[1])].spec.rank, r);
  }
}

TEST(StreamPlan, a_receive_in_no_fifo_follows_its_send) {
  const Program program = gpipe("async");
  const StreamPlan plan(program, {});
  const OpIndex recv = find(program, "1RECV_F1"), send = find(program, "0SEND_F1"), uses = find(program, "1F1"), makes = find(program, "0F1");
  EXPECT_TRUE(plan.follows_send(recv));
  EXPECT_EQ(plan.with_events(recv), send);
  ASSERT_EQ(plan.waits.of(uses).size(), 1u);
  EXPECT_EQ(plan.waits.of(uses)[0].source, send);
  EXPECT_THAT(plan.listeners.of(send), ElementsAre(1));
  EXPECT_THAT(plan.gives.of(makes), ElementsAre(plan.message[at(send)]));
  EXPECT_EQ(plan.send_of[at(plan.message[at(send)])], send);
}

TEST(StreamPlan, both_sides_of_a_rendezvous_tell_each_other_that_they_have_come) {
  const Program program = gpipe("edge");
  const StreamPlan plan(program, {});
  const OpIndex recv = find(program, "1RECV_F0"), send = find(program, "0SEND_F0");
  EXPECT_GE(plan.arrival_event(recv), 0);
  EXPECT_GE(plan.arrival_event(send), 0);
  EXPECT_THAT(plan.listeners.of(send), ElementsAre(1));
  EXPECT_THAT(plan.listeners.of(recv), ElementsAre(0));
  EXPECT_EQ(plan.arrival_event(find(program, "0F0")), -1);
}

TEST(StreamPlan, a_full_queue_waits_for_the_start_of_the_op_that_makes_room) {
  const Program program = on_ranks(find_schedule("ppll"), 2, {{"queue", "1"}});
  const StreamPlan plan(program, {});
  bool found = false;
  for (const StreamWait& wait : plan.waits.of(find(program, "0SEND_F1"))) found = found || (wait.source == find(program, "1F0") && wait.from_start);
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace bubblescope
