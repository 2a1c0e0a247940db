// DeepSpeed's instruction order.
#include <gtest/gtest.h>

#include "sim/core/cost_list.hpp"
#include "sim/engine/memory.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

Program deepspeed(int ranks, int microbatches) { return generate(find_schedule("deepspeed"), {.ranks = ranks, .microbatches = microbatches}); }

TEST(DeepSpeed, computes_in_the_order_of_1f1b) {
  for (const auto& [p, m] : {std::pair{1, 3}, {2, 1}, {2, 5}, {4, 2}, {4, 8}, {5, 7}}) {
    Program order = compute_order(deepspeed(p, m));
    EXPECT_EQ(rows_of(order), rows_of(generate(find_schedule("1f1b"), {.ranks = p, .microbatches = m}))) << p << ' ' << m;
  }
}

TEST(DeepSpeed, takes_two_steps_for_every_slot_of_the_flush) {
  // 2(m + p - 1) steps = 22 for p = 4, m = 8 (DeepSpeed's own count).
  const Program program = add_send_recv(deepspeed(4, 8));
  const StageCosts costs = stage_costs({{Kind::F, {1000}}, {Kind::B, {1000}}}, program);
  const Simulation run = simulate(program, costs, uniform_cluster(4));
  ASSERT_FALSE(run.deadlock);
  EXPECT_EQ(run.timeline.makespan(), 22'000);
  // Buffers max(2, min(p-s, m)): 4, 3, 2, 2, of which the last rank fills one.
  const auto memory = memory_over_time(program, run.timeline, costs);
  const int expected[] = {4, 3, 2, 1};
  for (std::size_t r = 0; r < 4; ++r) EXPECT_EQ(memory[r].peak_activations, expected[r]) << r;
}

TEST(DeepSpeed, receives_a_gradient_before_it_sends_the_activation_of_the_step_before) {
  EXPECT_EQ(rows_of(deepspeed(2, 3)), (std::vector<std::string>{
                                          "0F0,0SEND_F0,0F1,0RECV_B0,0SEND_F1,0B0,0F2,0RECV_B1,0SEND_F2,0B1,0RECV_B2,0B2,0U",
                                          "1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1,1RECV_F2,1F2,1B2,1SEND_B2,1U",
                                      }));
}

TEST(DeepSpeed, never_deadlocks) {
  for (int p = 1; p <= 9; ++p) {
    for (int m = 1; m <= 2 * p + 3; ++m) {
      const Program program = deepspeed(p, m);
      const StageCosts costs = stage_costs({{Kind::F, {1000}}, {Kind::B, {2000}}}, program);
      EXPECT_FALSE(simulate(program, costs, uniform_cluster(p, {100, 0})).deadlock) << p << ' ' << m;
    }
  }
}

}  // namespace
}  // namespace bubblescope
