// simulate: constraint graph, engine, Timeline.
#include "sim/engine/simulate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "sim/core/error.hpp"
#include "sim/core/tracks.hpp"
#include "sim/engine/timing.hpp"

namespace bubblescope {
namespace {

/// The sizes that decide which messages are eager; empty where no channel asks.
std::vector<std::int64_t> eager_sizes(const Program& program, const StageCosts& costs) {
  const bool asked = std::any_of(program.channels.begin(), program.channels.end(), [](const Channel& channel) { return channel.eager_bytes > 0; });
  return asked ? output_sizes(program, costs) : std::vector<std::int64_t>{};
}

}  // namespace

std::vector<std::int64_t> output_sizes(const Program& program, const StageCosts& costs) {
  std::vector<std::int64_t> sizes;
  for (Stage s = 0; s < program.stages(); ++s) sizes.push_back(s < costs.stages() ? costs.bytes(s).output : 0);
  return sizes;
}

Timeline make_timeline(const Program& program, const Timing& timing) {
  Timeline timeline = executed_timeline(program, "predicted", timing.all(), [&timing](OpIndex op, const Op& what) { return timing.bytes(op, what); });
  if (timing.issues().empty()) return timeline;
  Tracks tracks(timeline);
  OpIndex op = 0;
  for (Rank r = 0; r < program.ranks(); ++r) {
    for (const Op& what : program.rows[static_cast<std::size_t>(r)]) {
      const Issue& issue = timing.issues()[static_cast<std::size_t>(op++)];
      if (issue.last > issue.begin) add_launch(timeline, tracks, r, program, what, issue.begin, issue.last);
    }
  }
  return timeline;
}

namespace {

/// Idle times are summed over ranks.
void require_summable(const Program& program, const Timeline& timeline) {
  Nanos end = 0;
  for (const Span& span : timeline.spans) end = std::max(end, span.end);
  const Nanos most = std::numeric_limits<Nanos>::max() / std::max(1, program.ranks());
  if (end <= most) return;
  throw InputError(fmt::format("'{}' takes {} on {} ranks; expected at most {}", program.schedule, format_duration(end), program.ranks(), format_duration(most)));
}

}  // namespace

Simulation simulate(const Program& program, const StageCosts& costs, const Cluster& cluster, const SimulateOptions& options) {
  const bool shared = needs_events(program, costs, cluster);
  if (options.engine == Engine::sweep && shared) {
    throw InputError("the sweep engine cannot model ranks that share cores; use the event engine");
  }
  if (program.ordering != Ordering::in_order) {
    throw InputError("only in-order programs can be simulated: this one asks for another ordering of its streams");
  }
  const ConstraintGraph graph = constraint_graph(program, eager_sizes(program, costs));
  Timing timing(program, graph, costs, cluster);
  const bool events = options.engine == Engine::events || shared;
  const std::vector<OpIndex> cycle = events ? run_events(program, graph, timing, costs, cluster) : run_sweep(graph, timing);

  Simulation result;
  result.timeline = make_timeline(program, timing);
  require_summable(program, result.timeline);
  if (!cycle.empty()) {
    Deadlock deadlock;
    for (const OpIndex op : cycle) deadlock.cycle.push_back(fmt::format("rank {}: {}", timing.rank_of(op), cell(program, timing.op_at(op))));
    result.deadlock = std::move(deadlock);
    drop_unrun(result.timeline);
  }
  return result;
}

}  // namespace bubblescope
