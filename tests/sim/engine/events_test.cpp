// The event engine: against the sweep where both apply, and what it alone can do: machines that ranks share; and
// hosts that launch.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "sim/core/error.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "tests/sim/engine/simulated.hpp"
#include "tests/sim/fitting_shape.hpp"

namespace bubblescope {
namespace {

// --- the two engines ---------------------------------------------------------------------------------

TEST(Engines, sweep_and_events_give_the_same_timeline_for_every_schedule) {
  EXPECT_TRUE(rc::check([] {
    const auto& schedule = schedules()[*rc::gen::inRange<std::size_t>(0, schedules().size())];
    const int p = *rc::gen::inRange(1, 6), m = p * *rc::gen::inRange(1, 4);
    Program program = generate_fitting(schedule, {p, m});
    const std::string mode = *rc::gen::element<std::string>("async", "rank", "data", "edge");
    if (!schedule.local) program.channels = {channel_mode(mode)};
    StageCosts costs = costs_of(program, *rc::gen::inRange(1, 1000), *rc::gen::inRange(0, 1000), *rc::gen::inRange(0, 1000));
    for (Stage s = 0; s < program.stages(); ++s) {
      costs.at(s, Kind::F).duration += *rc::gen::inRange(0, 500);
      costs.at(s, Kind::F).launches = *rc::gen::inRange(0, 5);
      costs.bytes(s).output = *rc::gen::inRange(0, 5000);
    }
    Cluster cluster = uniform_cluster(program.ranks(), {*rc::gen::inRange(0, 300), 1e9, *rc::gen::element(0.0, 2e9)});
    const bool launching = *rc::gen::arbitrary<bool>();
    for (auto& device : cluster.devices) {
      device.launch = launching ? 50 : 0;
      device.run_ahead = launching ? 3 : 0;
    }
    const Program lowered = add_send_recv(program);
    const Simulation a = simulate(lowered, costs, cluster, {Engine::sweep});
    const Simulation b = simulate(lowered, costs, cluster, {Engine::events});
    RC_ASSERT(a.deadlock.has_value() == b.deadlock.has_value());
    RC_ASSERT(timeline_to_json(a.timeline) == timeline_to_json(b.timeline));
  }));
}

// --- machines that ranks share -----------------------------------------------------------------------

TEST(Engines, two_ranks_on_one_core_take_turns) {
  // Two independent ops of 10 on one core: each runs at half speed, both end at 20.
  Program program = make_program("two", 2, 1, {0, 1});
  program.profile = Profile::forward_only;
  program.chains = {{0}, {1}};
  Op op;
  op.microbatch = 0;
  for (int r = 0; r < 2; ++r) {
    op.stage = static_cast<std::int16_t>(r);
    program.rows[static_cast<std::size_t>(r)].push_back(op);
  }
  StageCosts costs(2);
  costs.at(0, Kind::F).duration = 10;
  costs.at(1, Kind::F).duration = 10;
  Cluster cluster = uniform_cluster(2);
  for (auto& device : cluster.devices) device.cores = {0};
  EXPECT_EQ(simulate(program, costs, cluster).timeline.makespan(), 20);
  // 10 and 4: the short one ends at 8 (half speed), by then the long one has 6 left, alone: 14.
  costs.at(1, Kind::F).duration = 4;
  const Timeline timeline = simulate(program, costs, cluster).timeline;
  EXPECT_EQ(timeline.spans[1].end, 8);
  EXPECT_EQ(timeline.spans[0].end, 14);
  EXPECT_THROW(simulate(program, costs, cluster, {Engine::sweep}), InputError);
}

TEST(Engines, an_op_is_slower_while_the_other_core_is_busy) {
  // Busy factor 1.5: rank 1 works 6 alone; together, 6 of work take 9. Rank 0 then has 10 - 6 = 4 left
  // and the machine to itself: it ends at 13.
  Program program = make_program("two", 2, 1, {0, 1});
  program.profile = Profile::forward_only;
  program.chains = {{0}, {1}};
  Op op;
  op.microbatch = 0;
  for (int r = 0; r < 2; ++r) {
    op.stage = static_cast<std::int16_t>(r);
    program.rows[static_cast<std::size_t>(r)].push_back(op);
  }
  StageCosts costs(2);
  costs.at(0, Kind::F) = {10, 1.5, 0, 0};
  costs.at(1, Kind::F) = {6, 1.5, 0, 0};
  Cluster cluster = uniform_cluster(2);
  cluster.devices[0].cores = {0};
  cluster.devices[1].cores = {1};
  const Timeline timeline = simulate(program, costs, cluster).timeline;
  EXPECT_EQ(timeline.spans[1].end, 9);
  EXPECT_EQ(timeline.spans[0].end, 13);
}

/// F0, F1 on one rank.
Program two_forwards() {
  Program program = make_program("one", 1, 2, {0});
  program.profile = Profile::forward_only;
  Op op;
  op.stage = 0;
  for (int m = 0; m < 2; ++m) {
    op.microbatch = m;
    program.rows[0].push_back(op);
  }
  return program;
}

TEST(Engines, a_launch_bound_op_ends_with_the_launch_of_its_last_kernel) {
  // 3 kernels of 20 each to launch, 10 of work: F ends at 60; the next op's first kernel comes at 80.
  const Program program = two_forwards();
  StageCosts costs(1);
  costs.at(0, Kind::F) = {10, 1.0, 0, 3};
  Cluster cluster = uniform_cluster(1);
  cluster.devices[0].launch = 20;
  const Timeline timeline = simulate(program, costs, cluster).timeline;
  EXPECT_EQ(timeline.spans[0].start, 20);
  EXPECT_EQ(timeline.spans[0].end, 60);
  EXPECT_EQ(timeline.spans[1].start, 80);
  EXPECT_EQ(timeline.spans[1].end, 120);
  EXPECT_EQ(timeline.spans[1].wait, Wait::host);
}

TEST(Engines, an_op_that_its_host_issues_for_longer_than_it_works_ends_with_that) {
  // 60 to issue, 10 of work: F ends at 60, the next at 120, each started by its first kernel.
  const Program program = two_forwards();
  StageCosts costs(1);
  costs.at(0, Kind::F) = {.duration = 10, .host = 60};
  const Timeline timeline = simulate(program, costs, uniform_cluster(1)).timeline;
  EXPECT_EQ(timeline.spans[0].start, 0);
  EXPECT_EQ(timeline.spans[0].end, 60);
  EXPECT_EQ(timeline.spans[1].start, 60);
  EXPECT_EQ(timeline.spans[1].end, 120);
}

TEST(Engines, a_host_that_may_not_run_ahead_launches_after_the_op_before_has_ended) {
  // Work 50 with one kernel of 20 to launch: running ahead 20-70, 70-120; waiting 20-70, 90-140.
  const Program program = two_forwards();
  StageCosts costs(1);
  costs.at(0, Kind::F) = {50, 1.0, 0, 1};
  Cluster cluster = uniform_cluster(1);
  cluster.devices[0].launch = 20;
  EXPECT_EQ(simulate(program, costs, cluster).timeline.spans[1].end, 120);
  cluster.devices[0].run_ahead = 1;
  EXPECT_EQ(simulate(program, costs, cluster).timeline.spans[1].start, 90);
  EXPECT_EQ(simulate(program, costs, cluster).timeline.spans[1].end, 140);
}

TEST(Engines, a_host_that_may_not_run_ahead_waits_for_what_a_queue_delivers) {
  // Rank 0's F takes 100, then its entry comes; only then rank 1's host launches for 20.
  const Program program = make("ppll", 2, 1);
  StageCosts costs(2);
  costs.at(0, Kind::F).duration = 100;
  costs.at(1, Kind::F) = {10, 1.0, 0, 1};
  Cluster cluster = uniform_cluster(2);
  cluster.devices[1].launch = 20;
  const auto start_of_last_forward = [&] {
    Nanos start = 0;
    for (const Span& span : simulate(add_send_recv(program), costs, cluster).timeline.spans) {
      if (span.has_op && span.op.kind == Kind::F) start = std::max(start, span.start);
    }
    return start;
  };
  EXPECT_EQ(start_of_last_forward(), 100);
  cluster.devices[1].run_ahead = 1;
  EXPECT_EQ(start_of_last_forward(), 120);
}

TEST(Engines, pipelines_do_not_copy_through_host_memory) {
  const Program program = add_send_recv(make("gpipe", 3, 4));
  StageCosts costs = costs_of(program, 5, 3, 2);
  for (Stage s = 0; s < 3; ++s) costs.bytes(s).output = 7;
  const Timeline with = simulate(program, costs, uniform_cluster(3, {1, 1e9, 1e9})).timeline;
  EXPECT_EQ(timeline_to_json(with), timeline_to_json(simulate(program, costs, uniform_cluster(3, {1, 1e9, 0})).timeline));
}

}  // namespace
}  // namespace bubblescope
