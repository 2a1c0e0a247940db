// Conformance: every registered schedule really runs, op by op, under every channel it may use.
#include "backend/null.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "backend/clock.hpp"
#include "backend/executor.hpp"
#include "sim/core/constraints.hpp"
#include "sim/core/dependencies.hpp"
#include "sim/core/error.hpp"
#include "sim/core/op_table.hpp"
#include "sim/core/validate.hpp"
#include "sim/lower/copy_reduction.hpp"
#include "sim/lower/recompute.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/backend/walked.hpp"
#include "tests/sim/fitting_shape.hpp"

namespace bubblescope {
namespace {

Execution run_null(const Program& program, std::int32_t iterations, Link link) {
  NullBackend backend(uneven_costs(program.stages()));
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.iterations = iterations;
  options.warmup = 1;
  options.network = uniform_cluster(program.ranks(), link);
  return execute(program, ranks, options);
}

Program scheduled(const Schedule& schedule, std::int32_t ranks, std::map<std::string, std::string> options = {}) {
  ScheduleShape shape;
  shape.ranks = ranks;
  shape.microbatches = 2 * ranks;
  shape.options = std::move(options);
  return generate_fitting(schedule, shape);
}

/// As scenarios are built: with reductions over copies, sends and receives.
Program lowered(const Program& order) { return add_send_recv(add_copy_reduction(order)); }

void expect_conformance(Program program, const std::string& name) {
  SCOPED_TRACE(name);
  const Link link{30 * kMicrosecond, 100e6};  // 1000 bytes take 10 us more
  const Execution execution = run_null(program, 2, link);
  const Walked run(program, execution.timeline, 2);
  ASSERT_TRUE(run.complete());
  run.check_dependencies(40 * kMicrosecond);
  run.check_rows();
  run.check_waits();
}

TEST(Null, runs_every_registered_schedule_as_its_program_says) {
  for (const Schedule& schedule : schedules()) {
    for (const std::int32_t ranks : {1, 2, 3, 8}) {
      expect_conformance(lowered(scheduled(schedule, ranks)), schedule.name + " on " + std::to_string(ranks));
    }
    for (const ScheduleOption& option : schedule.options) {
      for (const std::string& choice : option.choices) {
        expect_conformance(lowered(scheduled(schedule, 4, {{option.name, choice}})), schedule.name + " " + option.name + "=" + choice);
      }
    }
  }
}

TEST(Null, runs_every_schedule_that_recomputes) {
  int ran = 0;
  for (const Schedule& schedule : schedules()) {
    const Program plain = scheduled(schedule, 3);
    if (plain.profile == Profile::interlocking) continue;
    expect_conformance(lowered(with_recompute(plain, "all")), schedule.name);
    ++ran;
  }
  EXPECT_EQ(ran, static_cast<int>(schedules().size()) - 2);
}

TEST(Null, runs_pipelines_in_every_channel_mode_that_does_not_deadlock) {
  int ran = 0;
  for (const Schedule& schedule : schedules()) {
    if (schedule.local) continue;
    for (const std::string& mode : channel_mode_names()) {
      Program program = scheduled(schedule, 4);
      program.channels.front() = channel_mode(mode);
      program = lowered(program);
      if (!validate(program).empty()) continue;
      expect_conformance(program, schedule.name + " " + mode);
      ++ran;
    }
  }
  EXPECT_GE(ran, 12);
}

TEST(Null, runs_every_combination_of_a_channels_properties_that_does_not_deadlock) {
  int ran = 0, refused = 0;
  for (const char* fifo : {"async", "rank", "data", "edge"}) {
    for (const char* capacity : {"unbounded", "0", "1", "3"}) {
      for (const char* eager : {"0", "600", "1000"}) {  // messages have 1000 bytes
        for (const char* receive : {"posted", "use"}) {
          for (const char* send : {"immediate", "commit", "hold"}) {
            const std::string mode = fmt::format("{},capacity={},eager={},receive={},send={}", fifo, capacity, eager, receive, send);
            Program program = scheduled(find_schedule("1f1b"), 2);
            program.channels = {channel_mode(mode)};
            program = add_send_recv(program);
            if (check_progress(program, std::vector<std::int64_t>(2, 1000)).empty()) {
              expect_conformance(program, mode);
              ++ran;
            } else {
              EXPECT_THROW(run_null(program, 1, {}), RunError) << mode;
              ++refused;
            }
          }
        }
      }
    }
  }
  // Where a send stands until its receiver gets there, rank 0 with F1 and rank 1 with B0 stand for ever: a rendezvous,
  // for 1000 bytes, with receives at use and sends that hold, whatever the FIFO (4) and the smaller eager size (2).
  EXPECT_EQ(refused, 4 * 2);
  EXPECT_EQ(ran, 4 * 4 * 3 * 2 * 3 - refused);
}

TEST(Null, queues_never_hold_more_than_their_capacity) {
  const Schedule& schedule = find_schedule("ppll");
  for (const std::int32_t queue : {0, 1, 2, 8}) {
    for (const char* forward : {"early", "late"}) {
      SCOPED_TRACE("Q = " + std::to_string(queue) + ", " + forward);
      const std::int32_t ranks = 4;
      const Program program = lowered(scheduled(schedule, ranks, {{"queue", std::to_string(queue)}, {"forward", forward}}));
      const Execution execution = run_null(program, 3, {});
      const Walked run(program, execution.timeline, 3);
      ASSERT_TRUE(run.complete());
      run.check_dependencies(0);
      // Per edge, in order: when entries were accepted, when the ops that take them started and ended.
      const auto offsets = row_offsets(run.program());
      for (Rank r = 0; r + 1 < ranks; ++r) {
        std::vector<Nanos> accepted, taken, finished;
        for (OpIndex i = offsets[static_cast<std::size_t>(r)]; i < offsets[static_cast<std::size_t>(r) + 1]; ++i) {
          if (run.op(i).kind == Kind::SEND_F) accepted.push_back(run.span(i).end);
        }
        Nanos before = 0;  // end of what the consumer did before its RECV
        for (OpIndex i = offsets[static_cast<std::size_t>(r) + 1]; i < offsets[static_cast<std::size_t>(r) + 2]; ++i) {
          if (run.op(i).kind == Kind::F) taken.push_back(run.span(i).start);
          if (run.op(i).kind == Kind::RECV_F) finished.push_back(before);
          if (is_compute(run.op(i).kind)) before = run.span(i).end;
        }
        ASSERT_EQ(accepted.size(), taken.size());
        for (std::size_t t = 0; t < accepted.size(); ++t) {
          EXPECT_LE(accepted[t], taken[t]);
          const auto q = static_cast<std::size_t>(queue);
          const bool waits_for_credit = queue > 0 && t >= q;
          const Nanos earliest = queue == 0 ? finished[t] : waits_for_credit ? taken[t - q] : 0;
          EXPECT_GE(accepted[t], earliest) << "entry " << t;
        }
      }
    }
  }
}

TEST(Null, entries_of_queues_are_copied_out_before_they_are_offered_and_in_before_they_are_used) {
  const Nanos copy = 200 * kMicrosecond;  // 1000 bytes at 5 MB/s
  for (const char* queue : {"0", "2"}) {
    SCOPED_TRACE(queue);
    const Program program = lowered(scheduled(find_schedule("ppll"), 3, {{"queue", queue}}));
    const Execution execution = run_null(program, 2, {10 * kMicrosecond, 0, 5e6});
    const Walked run(program, execution.timeline, 2);
    ASSERT_TRUE(run.complete());
    run.check_rows();
    run.check_waits();
    const auto offsets = row_offsets(run.program());
    for (std::size_t r = 0; r + 1 < offsets.size(); ++r) {
      for (OpIndex i = offsets[r] + 1; i < offsets[r + 1]; ++i) {
        const Span& before = run.span(i - 1);
        if (run.op(i).kind == Kind::SEND_F) {
          EXPECT_GE(run.span(i).start, before.end + copy);
        } else if (run.op(i - 1).kind == Kind::RECV_F) {
          EXPECT_GE(run.span(i).start, before.start + copy);
        }
      }
    }
  }
}

TEST(Null, overlapped_compounds_cost_what_is_given_for_them_else_the_sum_of_their_parts) {
  Op f, b;
  f.stage = b.stage = 0;
  b.kind = Kind::B;
  const Op parts[] = {f, b};
  const Program program = make_program("compound", 1, 2, placement_loop(1, 1));
  StageCosts costs(1);
  costs.at(0, Kind::F).duration = 2 * kMillisecond;
  costs.at(0, Kind::B).duration = 3 * kMillisecond;
  const auto time = [&] {
    NullBackend backend(costs);
    const auto device = backend.device(0, program);
    const Nanos start = steady_now();
    device->execute_compound(Kind::OVERLAP_F_B, parts);
    return steady_now() - start;
  };
  EXPECT_GE(time(), 5 * kMillisecond);  // a sleep is never shorter than asked for
  costs.at(0, Kind::F).duration = costs.at(0, Kind::B).duration = 100 * kSecond;
  costs.overlap(0) = OpCost{.duration = kMillisecond};
  EXPECT_LT(time(), 100 * kSecond);
}

TEST(Null, messages_have_the_size_of_the_boundary_they_cross) {
  const Program program = make_program("sizes", 2, 1, placement_loop(2, 1));
  StageCosts costs(2);
  costs.bytes(0).output = 123;
  costs.bytes(1).output = 456;
  NullBackend backend(costs);
  const auto device = backend.device(0, program);
  Op op;
  op.microbatch = 0;
  op.stage = 0;
  op.kind = Kind::SEND_F;
  EXPECT_EQ(device->output(op).bytes, 123);
  op.kind = Kind::RECV_B;
  EXPECT_EQ(device->example(op).bytes, 123);
  op.stage = 1;
  op.kind = Kind::SEND_B;
  EXPECT_EQ(device->output(op).bytes, 123);
  op.kind = Kind::RECV_F;
  EXPECT_EQ(device->example(op).bytes, 123);
}

TEST(Null, every_schedule_runs_on_sixty_four_ranks_on_whatever_cores_there_are) {
  for (const Schedule& schedule : schedules()) {
    const Program program = lowered(generate_fitting(schedule, {.ranks = 64, .microbatches = 2}));
    const Execution execution = run_null(program, 1, {});
    EXPECT_EQ(program.ranks(), 64) << schedule.name;
    EXPECT_TRUE(Walked(program, execution.timeline, 1).complete()) << schedule.name;
  }
}

}  // namespace
}  // namespace bubblescope
