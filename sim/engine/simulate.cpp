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

Timeline make_timeline(const Program& program, const ConstraintGraph& graph, const Timing& timing) {
  Timeline timeline = empty_timeline(program, "predicted");
  Tracks tracks(timeline);

  timeline.spans.resize(graph.op_count());
  OpIndex op = 0;
  for (Rank r = 0; r < program.ranks(); ++r) {
    for (const Op& what : program.rows[static_cast<std::size_t>(r)]) {
      const Executed& run = timing.executed(op);
      Span& span = timeline.spans[static_cast<std::size_t>(op)];
      span.start = run.start;
      span.end = run.end;
      span.op = what;
      span.track = tracks.of(r, stream_of(what.kind));
      span.waited_for = run.waited_for;
      span.wait = run.wait;
      span.bytes = timing.bytes(op, what);
      if (is_compound(what.kind)) {
        span.name = static_cast<std::int32_t>(timeline.names.size());
        timeline.names.push_back(cell(program, what));
      }
      ++op;
    }
  }
  if (!timing.issues().empty()) {
    op = 0;
    for (Rank r = 0; r < program.ranks(); ++r) {
      for (const Op& what : program.rows[static_cast<std::size_t>(r)]) {
        const Issue& issue = timing.issues()[static_cast<std::size_t>(op++)];
        if (issue.last <= issue.begin) continue;
        Span span;
        span.start = issue.begin;
        span.end = issue.last;
        span.has_op = false;
        span.track = tracks.of(r, StreamKind::host);
        span.name = static_cast<std::int32_t>(timeline.names.size());
        timeline.names.push_back("launch " + cell(program, what));
        timeline.spans.push_back(span);
      }
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
  result.timeline = make_timeline(program, graph, timing);
  require_summable(program, result.timeline);
  if (!cycle.empty()) {
    Deadlock deadlock;
    for (const OpIndex op : cycle) deadlock.cycle.push_back(fmt::format("rank {}: {}", timing.rank_of(op), cell(program, timing.op_at(op))));
    result.deadlock = std::move(deadlock);
    std::vector<std::int32_t> moved(result.timeline.spans.size(), -1);
    std::vector<Span> ran;
    for (std::size_t i = 0; i < result.timeline.spans.size(); ++i) {
      if (result.timeline.spans[i].end < 0) continue;
      moved[i] = static_cast<std::int32_t>(ran.size());
      ran.push_back(result.timeline.spans[i]);
    }
    for (Span& span : ran) span.waited_for = span.waited_for < 0 ? -1 : moved[static_cast<std::size_t>(span.waited_for)];
    result.timeline.spans = std::move(ran);
  }
  return result;
}

}  // namespace bubblescope
