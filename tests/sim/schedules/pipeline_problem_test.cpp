// The timing of an order, and the bounds below all orders.
#include "sim/schedules/pipeline_problem.hpp"

#include <gtest/gtest.h>

#include "tests/sim/schedules/searched.hpp"

namespace bubblescope {
namespace {

PipelineProblem two_ranks(const ScheduleShape& shape, std::int32_t limit) {
  return pipeline_problem(shape, make_program("test", 2, shape.microbatches, placement_loop(2, 1)), {limit, limit});
}

constexpr RowOp F{0, Phase::F}, I{0, Phase::I}, W{0, Phase::W};

TEST(OrderTimer, runs_every_op_as_early_as_its_row_and_inputs_allow) {
  // F = 2, I = 3, W = 1, latency 0.5 ms. Rank 0: F 0-2, F 2-4; rank 1: F 2.5-4.5, I 4.5-7.5, F 7.5-9.5, I 9.5-12.5,
  // W -13.5, W -14.5; rank 0: I 8-11, W 11-12, I 13-16, W 16-17.
  const ScheduleShape shape = searched_shape(2, 2, "F=2,I=3,W=1", "0.5");
  const PipelineProblem problem = two_ranks(shape, 2);
  OrderTimer timer(problem);
  ASSERT_TRUE(timer.run({{F, F, I, W, I, W}, {F, I, F, I, W, W}}));
  EXPECT_EQ(timer.time(), (OrderTime{17 * kMillisecond, 17 * kMillisecond}));
  EXPECT_EQ(timer.start(0, 2), 8 * kMillisecond);
  EXPECT_EQ(timer.end(1, 3), 12'500 * kMicrosecond);
  EXPECT_EQ(timer.microbatch(0, 4), 1);
  EXPECT_EQ(timer.position(1, Phase::W, 0), 4);
}

TEST(OrderTimer, an_order_that_waits_for_itself_does_not_run) {
  const ScheduleShape shape = searched_shape(2, 1, "F=1,I=1,W=1", "0");
  const PipelineProblem problem = two_ranks(shape, 1);
  OrderTimer timer(problem);
  EXPECT_FALSE(timer.run({{I, F, W}, {F, I, W}}));
  EXPECT_FALSE(timer.run({{F, W, I}, {F, I, W}}));
  EXPECT_TRUE(timer.run({{F, I, W}, {F, I, W}}));
}

TEST(LowerBound, of_one_rank_is_its_work) {
  const ScheduleShape shape = searched_shape(1, 5, "F=2,I=3,W=1", "1");
  const PipelineProblem problem = pipeline_problem(shape, make_program("test", 1, 5, {0}), {1});
  EXPECT_EQ(lower_bound(problem), (OrderTime{30 * kMillisecond, 30 * kMillisecond}));
}

TEST(LowerBound, counts_the_idle_time_that_memory_forces) {
  // Two ranks, m = 4, F = I = W = 1, no latency. Rank 0's first gradient comes at 3. With 3 activations it is busy
  // until then: 12. With 2 it idles for 1; its last F waits for two Ws, so it starts after 1 + 3 F + 2 (I + W) =
  // 8, and F F I I W follow: 13. With 1 every microbatch takes F F I I W alone: 4 x 5.
  const ScheduleShape shape = searched_shape(2, 4, "F=1,I=1,W=1", "0");
  EXPECT_EQ(lower_bound(two_ranks(shape, 3)), (OrderTime{13 * kMillisecond, 12 * kMillisecond}));
  EXPECT_EQ(lower_bound(two_ranks(shape, 2)), (OrderTime{13 * kMillisecond, 13 * kMillisecond}));
  EXPECT_LE(lower_bound(two_ranks(shape, 1)).makespan, 20 * kMillisecond);
}

TEST(PeakActivations, count_from_forward_to_weight_gradient) {
  const ScheduleShape shape = searched_shape(2, 2, "F=1,I=1,W=1", "0");
  EXPECT_EQ(peak_activations(two_ranks(shape, 2), {{F, F, I, W, I, W}, {F, I, W, F, I, W}}), (std::vector<std::int32_t>{2, 1}));
}

}  // namespace
}  // namespace bubblescope
