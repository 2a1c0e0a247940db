// Steady patterns: what makes them one.
#include "sim/schedules/steady_pattern.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "sim/schedules/schedule_search.hpp"
#include "tests/sim/schedules/searched.hpp"

namespace bubblescope {
namespace {

PipelineProblem v_problem(const ScheduleShape& shape) {
  return pipeline_problem(shape, make_program("test", shape.ranks, shape.microbatches, placement_zigzag(shape.ranks, 2)),
                          std::vector<std::int32_t>(static_cast<std::size_t>(shape.ranks), 2 * shape.ranks));
}

TEST(SteadyPattern, keeps_every_dependency_and_no_two_ops_of_a_rank_overlap_in_a_period) {
  EXPECT_TRUE(rc::check([] {
    const auto number = [] { return std::to_string(*rc::gen::inRange(1, 12)); };
    const ScheduleShape shape = searched_shape(*rc::gen::inRange(1, 6), 4, "F=" + number() + ",I=" + number() + ",W=" + number(), number());
    const PipelineProblem problem = v_problem(shape);
    const Nanos period = problem.work(0) + *rc::gen::inRange(0, 3) * kMillisecond;
    const SteadyPattern pattern = steady_pattern(problem, period, 0.1);
    const auto start = [&](Stage s, Phase phase) {
      return pattern.start[static_cast<std::size_t>(problem.stage_rank[static_cast<std::size_t>(s)] * 6) + RowOp(problem.stage_chunk[static_cast<std::size_t>(s)], phase).code];
    };
    for (Stage s = 0; s < problem.stages(); ++s) {
      const auto i = static_cast<std::size_t>(s);
      if (s > 0) RC_ASSERT(start(s, Phase::F) >= start(s - 1, Phase::F) + problem.cost(s - 1, Phase::F) + problem.forward_latency[i]);
      if (s + 1 < problem.stages()) RC_ASSERT(start(s, Phase::I) >= start(s + 1, Phase::I) + problem.cost(s + 1, Phase::I) + problem.backward_latency[i]);
      RC_ASSERT(start(s, Phase::I) >= start(s, Phase::F) + problem.cost(s, Phase::F));
      RC_ASSERT(start(s, Phase::W) >= start(s, Phase::I) + problem.cost(s, Phase::I));
    }
    for (Rank r = 0; r < problem.ranks; ++r) {
      std::vector<std::pair<Nanos, Nanos>> ops;
      for (int c = 0; c < 2; ++c) {
        for (const Phase phase : {Phase::F, Phase::I, Phase::W}) {
          const Stage s = problem.stage(r, c);
          ops.emplace_back(start(s, phase) % period, problem.cost(s, phase));
        }
      }
      std::sort(ops.begin(), ops.end());
      for (std::size_t i = 0; i < ops.size(); ++i) {
        const Nanos next = i + 1 < ops.size() ? ops[i + 1].first : ops.front().first + period;
        RC_ASSERT(ops[i].first + ops[i].second <= next);
      }
    }
  }));
}

TEST(SteadyPattern, with_equal_costs_needs_no_more_than_the_memory_of_one_f_one_b) {
  // F = I = W, no latency: ZBV is a steady state without idle time within 2p activations of half a rank
  // (arXiv 2401.10241, section 6).
  const ScheduleShape shape = searched_shape(4, 8, "F=1,I=1,W=1", "0");
  const PipelineProblem problem = v_problem(shape);
  for (const std::int32_t peak : steady_pattern(problem, problem.work(0), 0.25).peak) EXPECT_LE(peak, 8);
}

TEST(PatternOrder, runs_and_shifts_ops_by_whole_periods) {
  const ScheduleShape shape = searched_shape(2, 3, "F=1,I=1,W=1", "0");
  const PipelineProblem problem = v_problem(shape);
  const SteadyPattern pattern = steady_pattern(problem, problem.work(0), 0.5);
  OrderTimer timer(problem);
  const RowOrder rows = pattern_order(problem, pattern, {0, 0, 0, 0, 0, 0});
  EXPECT_TRUE(timer.run(rows));
  // All forwards of the outer chunk 100 periods earlier: they come first.
  const RowOrder ahead = pattern_order(problem, pattern, {-100, 0, 0, 0, 0, 0});
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(ahead[0][i], RowOp(0, Phase::F));
  EXPECT_TRUE(timer.run(ahead));
}

}  // namespace
}  // namespace bubblescope
