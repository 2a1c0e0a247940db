// List scheduling: every policy gives an order that runs within the limits.
#include "sim/schedules/list_schedule.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "sim/schedules/local_search.hpp"
#include "sim/schedules/schedule_search.hpp"
#include "tests/sim/schedules/searched.hpp"

namespace bubblescope {
namespace {

/// Any V pipeline with limits of at least 2 activations.
PipelineProblem any_problem() {
  const auto number = [] { return std::to_string(*rc::gen::inRange(0, 12)); };
  const std::int32_t ranks = *rc::gen::inRange(1, 6);
  const ScheduleShape shape = searched_shape(ranks, *rc::gen::inRange(1, 9), "F=" + number() + ",I=" + number() + ",W=" + number(), number());
  std::vector<std::int32_t> limit;
  for (Rank r = 0; r < ranks; ++r) limit.push_back(*rc::gen::inRange(2, 9));
  return pipeline_problem(shape, make_program("test", ranks, shape.microbatches, placement_zigzag(ranks, 2)), limit);
}

ListPolicy any_policy(const PipelineProblem& problem) {
  ListPolicy policy;
  for (Rank r = 0; r < problem.ranks; ++r) {
    const std::int32_t limit = problem.limit[static_cast<std::size_t>(r)];
    policy.chunk_limit.push_back(*rc::gen::inRange(1, limit));
    policy.chunk_limit.push_back(*rc::gen::inRange(1, limit + 1));
  }
  for (int code = 0; code < 6; ++code) policy.preference.push_back(*rc::gen::inRange(0, 4));
  policy.patience = *rc::gen::inRange(0, 5) / 2.0;
  policy.fill = *rc::gen::inRange(0, 5) / 4.0;
  policy.pending = *rc::gen::inRange(0, 4);
  return policy;
}

TEST(ListSchedule, any_policy_gives_an_order_that_runs_within_the_limits) {
  EXPECT_TRUE(rc::check([] {
    const PipelineProblem problem = any_problem();
    const RowOrder rows = list_schedule(problem, any_policy(problem));
    OrderTimer timer(problem);
    RC_ASSERT(timer.run(rows));
    const auto peaks = peak_activations(problem, rows);
    for (std::size_t r = 0; r < peaks.size(); ++r) RC_ASSERT(peaks[r] <= problem.limit[r]);
  }));
}

TEST(ListSchedule, fills_a_gap_with_a_weight_gradient_only_where_it_is_told_that_it_fits) {
  // Two ranks, one chunk, m = 2, F = I = 1, W = 2, latency 1. Rank 1: F 2-3, I 3-4, F 4-5, I 5-6. Rank 0: F F, its I
  // at 5, then idle 6-7 until the next: a W of 2 fits that gap only by half.
  const ScheduleShape shape = searched_shape(2, 2, "F=1,I=1,W=2", "1");
  const PipelineProblem problem = pipeline_problem(shape, make_program("test", 2, 2, placement_loop(2, 1)), {2, 2});
  constexpr RowOp F{0, Phase::F}, I{0, Phase::I}, W{0, Phase::W};
  ListPolicy policy{.chunk_limit = {2, 2}, .preference = {1, 0, 0}};
  EXPECT_EQ(list_schedule(problem, policy)[0], (std::vector<RowOp>{F, F, I, I, W, W}));
  policy.fill = 0.5;
  EXPECT_EQ(list_schedule(problem, policy)[0], (std::vector<RowOp>{F, F, I, W, I, W}));
}

TEST(ImproveOrder, never_gives_a_worse_order_or_leaves_the_limits) {
  EXPECT_TRUE(rc::check([] {
    const PipelineProblem problem = any_problem();
    const RowOrder rows = list_schedule(problem, any_policy(problem));
    OrderTimer before(problem), after(problem);
    before.run(rows);
    const RowOrder improved = improve_order(problem, rows, lower_bound(problem), 300, 1, 0.03);
    RC_ASSERT(after.run(improved));
    RC_ASSERT(objective(after.time()) <= objective(before.time()));
    const auto peaks = peak_activations(problem, improved);
    for (std::size_t r = 0; r < peaks.size(); ++r) RC_ASSERT(peaks[r] <= problem.limit[r]);
  }));
}

}  // namespace
}  // namespace bubblescope
