// Longest path over the executed graph, and re-walks of it with scaled durations.
#include "analysis/critical_path.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "analysis/executed_graph.hpp"
#include "analysis/span_index.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

// What the time of one edge is spent on.
enum class Spent : std::uint8_t { nothing, compute, wire, launch, other, waiting };

struct Meaning {
  Spent spent = Spent::nothing;
  Rank from = -1, to = -1;  // wire
};

class Reader {
 public:
  explicit Reader(const Timeline& timeline) : timeline_(timeline), index_(timeline) {}

  Meaning of(const GraphEdge& edge) const {
    if (edge.weight == 0) return {};
    const std::int32_t i = edge.to / 2;
    const Span& span = timeline_.spans[i];
    if (edge.type == EdgeType::span) return of_span(span);
    if (edge.type == EdgeType::stream) return {Spent::launch};
    if (edge.type != EdgeType::executed) return {Spent::waiting};
    const Span& waited = timeline_.spans[span.waited_for];
    const Rank from = rank_of(timeline_, waited), to = rank_of(timeline_, span);
    if (span.wait == Wait::host || span.wait == Wait::stream) return {Spent::launch};
    // Latency of a dependency that crosses ranks without a transfer span of its own.
    if (span.wait == Wait::transfer && from != to) return {Spent::wire, from, to};
    return {Spent::waiting};
  }

 private:
  Meaning of_span(const Span& span) const {
    if (is_busy(timeline_, span)) return {Spent::compute};
    if (timeline_.tracks[span.track].stream == StreamKind::host) return {Spent::launch};
    if (!span.has_op || !is_p2p(span.op.kind)) return {Spent::other};
    const Rank own = rank_of(timeline_, span);
    const std::int32_t partner = index_.partner(span.op);
    const Rank peer = partner < 0 ? -1 : rank_of(timeline_, timeline_.spans[partner]);
    return is_send(span.op.kind) ? Meaning{Spent::wire, own, peer} : Meaning{Spent::wire, peer, own};
  }

  const Timeline& timeline_;
  SpanIndex index_;
};

int priority(EdgeType type) {
  switch (type) {
    case EdgeType::span: return 4;
    case EdgeType::executed: return 3;
    case EdgeType::stream: return 2;
    case EdgeType::data: return 1;
    case EdgeType::release: break;
  }
  return 0;
}

Vertex last_vertex(const std::vector<Nanos>& time) {
  return static_cast<Vertex>(std::max_element(time.begin(), time.end()) - time.begin());
}

// The stages of a compute span with the share each has of it.
std::vector<Stage> stages_of(const Timeline& timeline, const Span& span) {
  std::vector<Stage> stages;
  for (const Op& op : ops_of(timeline, span)) {
    if (op.stage >= 0) stages.push_back(op.stage);
  }
  return stages;
}

// Longest times from the source, and by which edge each vertex is reached.
struct LongestPaths {
  std::vector<Nanos> time;
  std::vector<std::int32_t> reached_by;
};

LongestPaths longest_paths(const ExecutedGraph& graph) {
  LongestPaths paths{std::vector<Nanos>(graph.vertex_count(), 0), std::vector<std::int32_t>(graph.vertex_count(), -1)};
  for (const Vertex v : graph.order) {
    for (std::int32_t e = graph.first[v]; e < graph.first[v + 1]; ++e) {
      const GraphEdge& edge = graph.edges[e];
      const Nanos there = paths.time[v] + edge.weight;
      const std::int32_t best = paths.reached_by[edge.to];
      if (best < 0 || there > paths.time[edge.to] ||
          (there == paths.time[edge.to] && priority(edge.type) > priority(graph.edges[best].type))) {
        paths.time[edge.to] = there;
        paths.reached_by[edge.to] = e;
      }
    }
  }
  return paths;
}

}  // namespace

CriticalPath critical_path(const Timeline& timeline) {
  const ExecutedGraph graph = executed_graph(timeline);
  const auto [time, reached_by] = longest_paths(graph);

  CriticalPath path;
  path.by_stage.assign(std::max(timeline.stages, 0), 0);
  const Reader reader(timeline);
  std::map<std::pair<Rank, Rank>, Nanos> links;
  Vertex v = last_vertex(time);
  path.makespan = time[v];
  while (v != graph.source() && reached_by[v] >= 0) {
    const GraphEdge& edge = graph.edges[reached_by[v]];
    const Span& span = timeline.spans[v / 2];
    if (edge.type == EdgeType::span && edge.weight > 0) path.spans.push_back(v / 2);
    const Meaning meaning = reader.of(edge);
    switch (meaning.spent) {
      case Spent::nothing: break;
      case Spent::compute: {
        path.compute += edge.weight;
        if (span.has_op) path.by_kind[static_cast<int>(span.op.kind)] += edge.weight;
        const std::vector<Stage> stages = stages_of(timeline, span);
        for (std::size_t k = 0; k < stages.size(); ++k) {
          if (stages[k] >= timeline.stages) continue;
          const auto parts = static_cast<Nanos>(stages.size());
          path.by_stage[stages[k]] += edge.weight / parts + (static_cast<Nanos>(k) < edge.weight % parts);
        }
        break;
      }
      case Spent::wire:
        path.wire += edge.weight;
        links[{meaning.from, meaning.to}] += edge.weight;
        break;
      case Spent::launch:
        if (edge.type == EdgeType::span) {
          path.other += edge.weight;
          break;
        }
        [[fallthrough]];
      case Spent::waiting:
        path.waiting += edge.weight;
        path.by_wait[static_cast<int>(span.wait)] += edge.weight;
        break;
      case Spent::other: path.other += edge.weight; break;
    }
    v = edge.from;
  }
  std::reverse(path.spans.begin(), path.spans.end());
  for (const auto& [ends, spent] : links) path.by_link.push_back({ends.first, ends.second, spent});
  path.length = path.compute + path.wire + path.other;
  return path;
}

std::vector<Sensitivity> sensitivities(const Timeline& timeline, double percent) {
  if (!(percent > 0 && percent <= 100)) {
    throw InputError(fmt::format("sensitivity of {} %; expected more than 0 and at most 100", percent));
  }
  const ExecutedGraph graph = executed_graph(timeline);
  const Reader reader(timeline);

  // What each edge belongs to: shares of it by target.
  std::vector<Sensitivity> results;
  std::map<Stage, std::size_t> stage_target;
  std::map<std::pair<Rank, Rank>, std::size_t> link_target;
  std::size_t launch_target = 0;
  bool launches = false;
  struct Share {
    std::int32_t edge;
    double part;
  };
  std::vector<std::vector<Share>> shares;
  const auto target_of = [&](Sensitivity blank) {
    results.push_back(std::move(blank));
    shares.emplace_back();
    return results.size() - 1;
  };
  for (std::int32_t e = 0; e < static_cast<std::int32_t>(graph.edges.size()); ++e) {
    const GraphEdge& edge = graph.edges[e];
    const Meaning meaning = reader.of(edge);
    if (meaning.spent == Spent::compute) {
      const std::vector<Stage> stages = stages_of(timeline, timeline.spans[edge.to / 2]);
      for (const Stage stage : stages) {
        auto [it, fresh] = stage_target.try_emplace(stage, 0);
        if (fresh) it->second = target_of({fmt::format("stage {}", stage), stage});
        shares[it->second].push_back({e, 1.0 / static_cast<double>(stages.size())});
      }
    } else if (meaning.spent == Spent::wire) {
      auto [it, fresh] = link_target.try_emplace({meaning.from, meaning.to}, 0);
      if (fresh) {
        it->second = target_of({fmt::format("link {}->{}", meaning.from, meaning.to), -1, meaning.from, meaning.to});
      }
      shares[it->second].push_back({e, 1.0});
    } else if (meaning.spent == Spent::launch) {
      if (!launches) launch_target = target_of({"launch"});
      launches = true;
      shares[launch_target].push_back({e, 1.0});
    }
  }

  // What is not on the path cannot shorten it.
  const auto [longest, reached_by] = longest_paths(graph);
  const Vertex last = last_vertex(longest);
  const Nanos now = longest[last];
  std::vector<bool> on_path(graph.edges.size(), false);
  for (Vertex v = last; v != graph.source() && reached_by[v] >= 0; v = graph.edges[reached_by[v]].from) {
    on_path[reached_by[v]] = true;
  }

  std::vector<Nanos> weight(graph.edges.size()), time;
  for (std::size_t e = 0; e < weight.size(); ++e) weight[e] = graph.edges[e].weight;
  const auto walk = [&] {
    time.assign(graph.vertex_count(), 0);
    for (const Vertex v : graph.order) {
      for (std::int32_t e = graph.first[v]; e < graph.first[v + 1]; ++e) {
        Nanos& there = time[graph.edges[e].to];
        there = std::max(there, time[v] + weight[e]);
      }
    }
    return *std::max_element(time.begin(), time.end());
  };
  for (std::size_t t = 0; t < results.size(); ++t) {
    results[t].makespan = now;
    if (std::none_of(shares[t].begin(), shares[t].end(), [&](const Share& s) { return on_path[s.edge]; })) continue;
    for (const Share& share : shares[t]) {
      const double saved = static_cast<double>(graph.edges[share.edge].weight) * share.part * percent / 100.0;
      weight[share.edge] -= std::min<Nanos>(std::llround(saved), weight[share.edge]);
    }
    results[t].makespan = walk();
    results[t].gain = now - results[t].makespan;
    for (const Share& share : shares[t]) weight[share.edge] = graph.edges[share.edge].weight;
  }
  std::sort(results.begin(), results.end(), [](const Sensitivity& a, const Sensitivity& b) {
    const auto rank = [](const Sensitivity& s) { return s.stage >= 0 ? 0 : s.from >= 0 || s.to >= 0 ? 1 : 2; };
    return std::tuple(rank(a), a.stage, a.from, a.to) < std::tuple(rank(b), b.stage, b.from, b.to);
  });
  return results;
}

}  // namespace bubblescope
