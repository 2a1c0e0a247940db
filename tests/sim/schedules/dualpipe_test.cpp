// DualPipe: idle time per rank, and the shapes it can have.
#include <gtest/gtest.h>

#include "sim/core/cost_list.hpp"
#include "sim/core/error.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

constexpr Nanos kUnit = 1000;

/// Makespan less compute time of every rank, F = I = W = 1 unit and an overlapped pair `pair` units.
std::vector<double> idle_of_ranks(const std::string& name, int ranks, int microbatches, double pair) {
  const Program program = add_send_recv(generate(find_schedule(name), {.ranks = ranks, .microbatches = microbatches}));
  const Nanos chunk = kUnit * program.chunks;  // so that every stage takes a unit
  const StageCosts costs = stage_costs({{Kind::F, {chunk}}, {Kind::I, {chunk}}, {Kind::W, {chunk}}, {Kind::OVERLAP_F_B, {static_cast<Nanos>(pair * static_cast<double>(chunk))}}}, program);
  const Simulation run = simulate(program, costs, uniform_cluster(ranks));
  std::vector<Nanos> busy(static_cast<std::size_t>(ranks), 0);
  Nanos end = 0;
  for (const Span& span : run.timeline.spans) {
    if (!is_compute(span.op.kind)) continue;
    busy[static_cast<std::size_t>(run.timeline.tracks[static_cast<std::size_t>(span.track)].rank)] += span.duration();
    end = std::max(end, span.end);
  }
  std::vector<double> idle;
  for (const Nanos time : busy) idle.push_back(static_cast<double>(end - time) / kUnit);
  return idle;
}

TEST(DualPipe, the_published_formula_holds_on_the_middle_ranks_alone) {
  // (p/2-1)(F&B + B - 3W) = 3 (2.4 + 2 - 3) = 4.2; whole vector: an evaluator independent of this project.
  const std::vector<double> expected{3.0, 3.6, 4.2, 4.2, 4.2, 4.2, 3.6, 3.0};
  const std::vector<double> idle = idle_of_ranks("dualpipe", 8, 16, 2.4);
  ASSERT_EQ(idle.size(), expected.size());
  for (std::size_t r = 0; r < idle.size(); ++r) EXPECT_DOUBLE_EQ(idle[r], expected[r]) << "rank " << r;
}

TEST(DualPipe, the_published_formula_holds_on_all_ranks_where_nothing_is_gained_by_overlapping) {
  for (const int ranks : {2, 4, 6, 8}) {
    for (const double idle : idle_of_ranks("dualpipe", ranks, 2 * ranks + 2, 3.0)) EXPECT_DOUBLE_EQ(idle, (ranks / 2 - 1) * (3.0 + 2 - 3));
    for (const double idle : idle_of_ranks("dualpipev", ranks, 2 * ranks + 1, 3.0)) EXPECT_DOUBLE_EQ(idle, (ranks - 1) * (3.0 + 2 - 3));
  }
}

TEST(DualPipe, shapes_that_it_cannot_have_are_refused) {
  for (const auto& [name, ranks, microbatches] : {std::tuple{"dualpipe", 3, 8}, {"dualpipe", 4, 9}, {"dualpipe", 4, 6}, {"dualpipev", 4, 7}}) {
    EXPECT_THROW(generate(find_schedule(name), {.ranks = ranks, .microbatches = microbatches}), ShapeError) << name << ' ' << ranks << ' ' << microbatches;
  }
}

}  // namespace
}  // namespace bubblescope
