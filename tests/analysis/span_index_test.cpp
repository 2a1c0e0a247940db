// Which spans belong together: meetings, and transfers of what compounds made.
#include "analysis/span_index.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <span>
#include <string>
#include <vector>

#include "sim/core/constraints.hpp"
#include "sim/core/cost_list.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/copy_reduction.hpp"
#include "sim/lower/send_recv.hpp"
#include "tests/analysis/build_timeline.hpp"
#include "tests/sim/fitting_shape.hpp"

namespace bubblescope {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

TEST(SpanIndex, barriers_are_met_one_after_the_other) {
  TimelineBuilder builder(2, 2, 1);
  const auto first0 = builder.add(0, "0SYNC", 4, 5), first1 = builder.add(1, "1SYNC", 4, 5);
  const auto second0 = builder.add(0, "0SYNC", 8, 9), second1 = builder.add(1, "1SYNC", 9, 9);  // not to the nanosecond
  const SpanIndex index(builder.timeline());
  EXPECT_THAT(index.members(first1), UnorderedElementsAre(first0, first1));
  EXPECT_THAT(index.members(second0), UnorderedElementsAre(second0, second1));
}

// Bidirectional: ranks 0 and 3 hold the ends of both chains, ranks 1 and 2 what is between, and each pair
// meets twice. All four of the second meetings start in the same nanosecond.
TEST(SpanIndex, reductions_are_met_by_the_copies_of_a_stage) {
  TimelineBuilder builder(4, 8, 1);
  builder.timeline().chains = {{0, 1, 2, 3}, {4, 5, 6, 7}};
  const auto a0 = builder.add(0, "0ALLREDUCE", 10, 12), b0 = builder.add(0, "7ALLREDUCE", 12, 14);
  const auto a1 = builder.add(1, "1ALLREDUCE", 7, 8), b1 = builder.add(1, "6ALLREDUCE", 12, 13);
  const auto a2 = builder.add(2, "5ALLREDUCE", 7, 8), b2 = builder.add(2, "2ALLREDUCE", 12, 13);
  const auto a3 = builder.add(3, "4ALLREDUCE", 10, 12), b3 = builder.add(3, "3ALLREDUCE", 12, 14);
  const auto again1 = builder.add(1, "1ALLREDUCE", 20, 21), again2 = builder.add(2, "5ALLREDUCE", 20, 21);
  const SpanIndex index(builder.timeline());
  EXPECT_THAT(index.members(a0), ElementsAre(a0, a3));
  EXPECT_THAT(index.members(a2), ElementsAre(a1, a2));
  EXPECT_THAT(index.members(b1), ElementsAre(b1, b2));
  EXPECT_THAT(index.members(b3), ElementsAre(b0, b3));
  EXPECT_THAT(index.members(again1), ElementsAre(again1, again2));
}

TEST(SpanIndex, stages_and_chains_out_of_range_meet_nobody) {
  TimelineBuilder builder(2, 2, 1);
  builder.timeline().chains = {{0, 9}, {1}};
  const auto far = builder.add(0, "9ALLREDUCE", 1, 2), near = builder.add(1, "1ALLREDUCE", 1, 2);
  const SpanIndex index(builder.timeline());
  EXPECT_THAT(index.members(far), ElementsAre(far));
  EXPECT_THAT(index.members(near), ElementsAre(near));
}

TEST(SpanIndex, members_are_the_groups_that_start_together) {
  for (const Schedule& schedule : schedules()) {
    Program program = add_send_recv(add_copy_reduction(generate_fitting(schedule, {.ranks = 4, .microbatches = 8, .options = schedule.flush ? std::map<std::string, std::string>{{"clip", "1"}} : std::map<std::string, std::string>{}})));
    if (program.overlap.empty()) program = repeat_iterations(program, 2);
    const ConstraintGraph graph = constraint_graph(program);
    const StageCosts costs = stage_costs(parse_cost_list("F=1,B=2,LB=2"), program);
    const Timeline timeline = simulate(program, costs, uniform_cluster(program.ranks(), {.latency = 1000})).timeline;
    const SpanIndex index(timeline);
    for (OpIndex op = 0; op < static_cast<OpIndex>(graph.op_count()); ++op) {
      if (!is_collective(timeline.spans[static_cast<std::size_t>(op)].op.kind)) continue;
      const std::int32_t group = graph.group[static_cast<std::size_t>(op)];
      const std::vector<OpIndex> alone{op};
      const std::span<const OpIndex> expected = group >= 0 ? graph.members(group) : std::span<const OpIndex>(alone);
      EXPECT_THAT(index.members(op), testing::UnorderedElementsAreArray(expected)) << schedule.name;
    }
  }
}

TEST(SpanIndex, what_a_compound_made_is_found_whatever_its_direction) {
  TimelineBuilder builder(2, 4, 2);
  const auto both = builder.add(0, "(0F0;3B1)OVERLAP_F_B", 0, 4);
  const auto send = builder.add(0, "3SEND_B1", 4, 5);
  builder.timeline().spans[static_cast<std::size_t>(send)].op.chain = 1;
  const SpanIndex index(builder.timeline());
  EXPECT_EQ(index.producer(builder.timeline().spans[static_cast<std::size_t>(send)].op), both);
}

}  // namespace
}  // namespace bubblescope
