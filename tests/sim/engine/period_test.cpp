// The steady-state period against the rate of long runs, and of programs that hold several iterations.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "sim/core/cost_list.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/fitting_shape.hpp"

namespace bubblescope {
namespace {

Program lowered(const std::string& name, int ranks, int microbatches, std::map<std::string, std::string> options = {}) {
  return add_send_recv(generate(find_schedule(name), {ranks, microbatches, std::move(options)}));
}

Nanos period_of(const Program& program, const char* costs) {
  return steady_period(program, stage_costs(parse_cost_list(costs), program), uniform_cluster(program.ranks())).value_or(-1);
}

TEST(SteadyPeriod, of_a_program_of_several_iterations_is_that_of_one) {
  // GPipe, p = 2, m = 4, F + B = 3 ms: span (m + p - 1) * 3 = 15 ms. PPLL: one microbatch per F + LB of
  // the slower rank, 4 ms. Serial: both ranks' F + LB per batch, 3 + 4 = 7 ms.
  for (const int iterations : {1, 2, 3}) {
    EXPECT_EQ(period_of(repeat_iterations(lowered("gpipe", 2, 4), iterations), "F=1,B=2"), 15 * kMillisecond) << iterations;
    EXPECT_EQ(period_of(repeat_iterations(lowered("ppll", 2, 4), iterations), "F=1,LB=2:3"), 4 * kMillisecond) << iterations;
    EXPECT_EQ(period_of(repeat_iterations(lowered("sequential-local", 2, 4), iterations), "F=1,LB=2:3"), 7 * kMillisecond) << iterations;
  }
}

TEST(SteadyPeriod, of_a_queue_longer_than_any_run_is_that_of_the_slowest_rank) {
  for (const std::int32_t capacity : {1000, 1'000'000, std::numeric_limits<std::int32_t>::max()}) {
    for (const int microbatches : {1, 4}) {
      Program program = lowered("ppll", 2, microbatches);
      program.channels.front().capacity = capacity;
      EXPECT_EQ(period_of(program, "F=1:3,LB=1"), 4 * kMillisecond) << capacity;
      EXPECT_EQ(period_of(program, "F=3:1,LB=1"), 4 * kMillisecond) << capacity;
    }
  }
}

/// A schedule of the registry with any options, and times that differ from stage to stage.
struct Case {
  Program program;
  StageCosts costs;
  Cluster cluster;
};

Case any_case() {
  const auto& schedule = schedules()[*rc::gen::inRange<std::size_t>(0, schedules().size())];
  ScheduleShape shape;
  shape.ranks = *rc::gen::inRange(1, 5);
  shape.microbatches = shape.ranks * *rc::gen::inRange(1, 3);
  for (const ScheduleOption& option : schedule.options) {
    if (!option.choices.empty()) {
      shape.options[option.name] = *rc::gen::elementOf(option.choices);
    } else if (option.name == "accumulate") {
      shape.options[option.name] = std::to_string(*rc::gen::element(1, shape.microbatches));
    } else {
      const auto least = static_cast<int>(option.minimum);
      shape.options[option.name] = std::to_string(*rc::gen::inRange(least, least + (option.name == "queue" ? 9 : 3)));
    }
  }
  Program program = generate_fitting(schedule, shape);
  if (!schedule.local) program.channels = {channel_mode(*rc::gen::elementOf(channel_mode_names()))};
  StageCosts costs(program.stages());
  for (Stage s = 0; s < program.stages(); ++s) {
    for (const Kind kind : {Kind::F, Kind::B, Kind::A, Kind::LB, Kind::U}) costs.at(s, kind).duration = *rc::gen::inRange(1, 1000);
    costs.bytes(s).output = *rc::gen::inRange(0, 500);
  }
  Cluster cluster = uniform_cluster(program.ranks(), {*rc::gen::inRange(0, 300), *rc::gen::element(0.0, 1e9), *rc::gen::element(0.0, 2e9)});
  cluster.sync = *rc::gen::inRange(0, 50);
  return {add_send_recv(program), std::move(costs), std::move(cluster)};
}

/// When the last compute op of each iteration starts.
std::vector<Nanos> last_starts(const Timeline& timeline) {
  std::vector<Nanos> starts(static_cast<std::size_t>(timeline.iterations), 0);
  for (const Span& span : timeline.spans) {
    if (!span.has_op || !is_compute(span.op.kind)) continue;
    Nanos& start = starts[static_cast<std::size_t>(span.op.iteration)];
    start = std::max(start, span.start);
  }
  return starts;
}

TEST(SteadyPeriod, is_the_rate_of_a_long_run_whatever_schedule_queue_link_and_channel) {
  // The slope between two iterations that lie 100 apart. Starts repeat only after some iterations, and within
  // those they may be early or late by less than two of them.
  EXPECT_TRUE(rc::check([] {
    constexpr std::size_t kApart = 100;
    const Case what = any_case();
    const auto period = steady_period(what.program, what.costs, what.cluster);
    const Simulation run = simulate(repeat_iterations(what.program, 2 * static_cast<std::int32_t>(kApart)), what.costs, what.cluster);
    RC_ASSERT(period.has_value() == !run.deadlock.has_value());
    if (!period) return;
    const std::vector<Nanos> starts = last_starts(run.timeline);
    const Nanos units = updates_every_microbatch(what.program) ? what.program.microbatches : 1;
    const Nanos gone = starts.back() - starts[starts.size() - 1 - kApart];
    const Nanos expected = *period * units * static_cast<Nanos>(kApart);
    RC_ASSERT(std::abs(gone - expected) <= 2 * *period * units + static_cast<Nanos>(kApart) * units);
    // No rank does its work in less time than it takes.
    std::vector<Nanos> busy(static_cast<std::size_t>(what.program.ranks()), 0);
    for (Rank r = 0; r < what.program.ranks(); ++r) {
      for (const Op& op : what.program.rows[static_cast<std::size_t>(r)]) {
        if (is_compute(op.kind)) busy[static_cast<std::size_t>(r)] += what.costs.of(what.program, op).duration;
      }
    }
    RC_ASSERT((*period + 1) * units >= *std::max_element(busy.begin(), busy.end()));
  }));
}

}  // namespace
}  // namespace bubblescope
