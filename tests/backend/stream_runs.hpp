// Runs on host streams for tests, with work that is late at random, and whether the constraints were kept.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "backend/executor.hpp"
#include "backend/host_streams.hpp"
#include "backend/null.hpp"
#include "sim/core/constraints.hpp"
#include "sim/core/index.hpp"
#include "sim/lower/copy_reduction.hpp"
#include "sim/lower/send_recv.hpp"
#include "tests/sim/fitting_shape.hpp"

namespace bubblescope {

/// 0 to 200 us, the same for the same seed, lane and number of the work.
inline HostStreamOptions late_at_random(std::uint64_t seed) {
  HostStreamOptions options;
  options.delay = [seed](std::int32_t lane, std::int64_t number) {
    std::uint64_t mixed = (seed * 1'000'003 + static_cast<std::uint64_t>(lane)) * 1'000'003 + static_cast<std::uint64_t>(number);
    mixed = (mixed ^ (mixed >> 31)) * 0x9e3779b97f4a7c15ull;
    return static_cast<Nanos>((mixed >> 40) % 200) * kMicrosecond;
  };
  return options;
}

inline Program on_ranks(const Schedule& schedule, std::int32_t ranks, std::map<std::string, std::string> options = {}) {
  ScheduleShape shape;
  shape.ranks = ranks;
  shape.microbatches = ranks + 1;
  shape.options = std::move(options);
  return add_send_recv(add_copy_reduction(generate_fitting(schedule, shape)));
}

/// Ops that take no time but what the streams are late by.
inline Execution run_on_streams(const Program& program, const HostStreamOptions& streams, const ExecuteOptions& options) {
  StageCosts costs(program.stages());
  for (Stage s = 0; s < program.stages(); ++s) costs.bytes(s).output = 1000;
  NullBackend null(costs);
  HostStreamBackend backend(null, streams);
  Ranks ranks(backend, program, {});
  return execute(program, ranks, options);
}

/// Ops of `unrolled` that ran before what they had to wait for. `timeline` has a span per op, in their order.
inline int broken_constraints(const Program& unrolled, const Timeline& timeline) {
  const ConstraintGraph graph = constraint_graph(unrolled);
  EXPECT_EQ(timeline.spans.size(), graph.op_count());
  if (timeline.spans.size() != graph.op_count()) return -1;
  // A send that holds its rank has its turn before it is accepted, and a receive before its data is there.
  const auto ran = [&](OpIndex op) {
    const Span& span = timeline.spans[at(op)];
    return graph.transfer[at(op)] == Transfer::send_hold || graph.transfer[at(op)] == Transfer::recv_wait ? span.end : span.start;
  };
  int broken = 0;
  std::vector<Nanos> turn(at(graph.sequences()), 0), came(graph.op_count(), 0);  // came: by op, no earlier
  for (OpIndex op = 0; op < static_cast<OpIndex>(graph.op_count()); ++op) {
    const std::int32_t sequence = graph.sequence[at(op)];
    if (sequence >= 0) {
      broken += ran(op) < turn[at(sequence)];
      came[at(op)] = turn[at(sequence)];
      turn[at(sequence)] = timeline.spans[at(op)].end;
    }
    for (const Constraint& constraint : graph.constraints_of(op)) {
      const Span& source = timeline.spans[at(constraint.source)];
      broken += ran(op) < (constraint.from_start ? source.start : source.end);
    }
  }
  // Who meets goes on once all have come.
  for (OpIndex op = 0; op < static_cast<OpIndex>(graph.op_count()); ++op) {
    if (graph.group[at(op)] < 0) continue;
    for (const OpIndex member : graph.members(graph.group[at(op)])) {
      broken += ran(op) < came[at(member)];
      const bool receives = graph.transfer[at(op)] == Transfer::recv_joint && member != op;
      broken += receives && timeline.spans[at(op)].end < timeline.spans[at(member)].end;
    }
  }
  return broken;
}

}  // namespace bubblescope
