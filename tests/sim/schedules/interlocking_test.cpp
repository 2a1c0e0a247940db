// Interlocking: rows by hand, the period by its closed form, memory.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "sim/core/cost_list.hpp"
#include "sim/core/validate.hpp"
#include "sim/engine/memory.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

Program interlocking(std::int32_t ranks, std::int32_t microbatches, std::int32_t losses, std::int32_t queue = 0) {
  return add_send_recv(generate(find_schedule("interlocking"), {.ranks = ranks, .microbatches = microbatches,
                                                                .options = {{"losses", std::to_string(losses)}, {"queue", std::to_string(queue)}}}));
}

TEST(InterlockingSchedule, sends_outputs_on_and_gradients_back) {
  EXPECT_EQ(rows_of(interlocking(3, 1, 2)), (std::vector<std::string>{"0F0,0SEND_F0,0A0,0B0,0RECV_B0,0B0,0U0",
                                                                     "1RECV_F0,1F0,1SEND_F0,1A0,1B0,1SEND_B0,1RECV_B0,1B0,1U0",
                                                                     "2RECV_F0,2F0,2A0,2B0,2SEND_B0,2U0"}));
}

TEST(InterlockingSchedule, with_one_loss_is_local_learning) {
  const Program one = interlocking(3, 4, 1);
  ASSERT_FALSE(one.rows[1].empty());
  for (const Op& op : one.rows[1]) EXPECT_TRUE(op.kind != Kind::SEND_B && op.kind != Kind::RECV_B);
}

RC_GTEST_PROP(InterlockingSchedule, waits_for_a_forward_per_further_loss, ()) {
  const auto losses = *rc::gen::inRange(1, 5);
  const auto ranks = *rc::gen::inRange(losses, 8);
  const auto queue = *rc::gen::inRange(0, 4);
  const Nanos f = *rc::gen::inRange(1, 40), a = *rc::gen::inRange(0, 20), b = *rc::gen::inRange(1, 60), u = *rc::gen::inRange(0, 9);
  const Program one = interlocking(ranks, 3, losses, queue);
  RC_ASSERT(validate(one).empty());
  const StageCosts costs = stage_costs({{Kind::F, {f}}, {Kind::A, {a}}, {Kind::B, {b}}, {Kind::U, {u}}}, one);
  RC_ASSERT(steady_period(one, costs, uniform_cluster(ranks)) == losses * (f + b) + a + u);
}

TEST(InterlockingSchedule, holds_a_microbatch_until_its_last_backward) {
  const Program one = interlocking(2, 1, 2);
  StageCosts costs = stage_costs(parse_cost_list("F=1,A=1,B=2"), one);
  for (Stage s = 0; s < 2; ++s) costs.bytes(s) = {.activations = 100, .auxiliary_activations = 10};
  const auto memory = memory_over_time(one, simulate(one, costs, uniform_cluster(2)).timeline, costs);
  EXPECT_EQ(memory[0].peak_bytes, 110);
  EXPECT_EQ(memory[0].peak_activations, 1);
  for (const RankMemory& rank : memory) EXPECT_EQ(rank.samples.back().bytes, 0);
}

TEST(OverlappingLocal, is_two_wise_interlocking_through_a_queue) {
  const Program overlapping = generate(find_schedule("overlapping-local"), {.ranks = 4, .microbatches = 5});
  EXPECT_EQ(overlapping.rows, generate(find_schedule("interlocking"), {.ranks = 4, .microbatches = 5}).rows);
  EXPECT_EQ(overlapping.channels.front().capacity, 2);
}

}  // namespace
}  // namespace bubblescope
