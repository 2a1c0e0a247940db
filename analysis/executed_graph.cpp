// Builds the executed graph of a Timeline and orders it with Boost.Graph.
#include "analysis/executed_graph.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

#include <boost/graph/topological_sort.hpp>
#include <boost/property_map/property_map.hpp>
#include <fmt/format.h>

#include "analysis/span_index.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

class Builder {
 public:
  explicit Builder(const Timeline& timeline) : timeline_(timeline), index_(timeline) {}

  ExecutedGraph build() {
    graph_.span_count = static_cast<std::int32_t>(timeline_.spans.size());
    edges_.reserve(timeline_.spans.size() * 4);
    for (std::int32_t i = 0; i < graph_.span_count; ++i) add_span(i);
    sort_edges();
    if (!find_order()) {
      // Every edge goes forward in time, so a circle has no weight and lies within one moment.
      const std::vector<std::int32_t> place = places_by_start();
      std::erase_if(edges_, [&](const GraphEdge& edge) {
        return edge.weight == 0 && (edge.type == EdgeType::executed || edge.type == EdgeType::data) &&
               place[edge.from / 2] > place[edge.to / 2];
      });
      sort_edges();
      if (!find_order()) throw InputError("timeline: spans wait for each other in a circle");
    }
    return std::move(graph_);
  }

 private:
  static Vertex start_of(std::int32_t span) { return 2 * span; }
  static Vertex end_of(std::int32_t span) { return 2 * span + 1; }
  void add(Vertex from, Vertex to, Nanos weight, EdgeType type) { edges_.push_back({from, to, weight, type}); }

  void add_span(std::int32_t i) {
    const Span& span = timeline_.spans[i];
    Nanos duration = span.duration();
    bool has_start = false;  // some edge fixes the start
    const std::int32_t waited = span.waited_for == i ? -1 : span.waited_for;
    const std::int32_t previous = index_.previous(i);
    const bool transfers = span.has_op && !is_compute(span.op.kind);
    if (waited >= 0) {
      const Span& y = timeline_.spans[waited];
      if (y.end <= span.start) {
        add(end_of(waited), start_of(i), span.start - y.end, EdgeType::executed);
        has_start = true;
      } else if (transfers && y.end <= span.end) {
        add(end_of(waited), end_of(i), span.end - y.end, EdgeType::executed);
        duration = 0;
      } else if (y.start <= span.start) {
        add(start_of(waited), start_of(i), span.start - y.start, EdgeType::executed);
        has_start = true;
      } else if (transfers && y.start <= span.end) {
        add(start_of(waited), end_of(i), span.end - y.start, EdgeType::executed);
        duration = 0;
      }
    }
    const bool follows = !has_start && span.wait == Wait::stream;
    const StreamKind stream = timeline_.tracks[span.track].stream;
    const bool serial = stream != StreamKind::communication && stream != StreamKind::link;
    if (previous >= 0 && (serial || follows)) {
      const Span& y = timeline_.spans[previous];
      if (y.end <= span.start) {
        add(end_of(previous), start_of(i), follows ? span.start - y.end : 0, EdgeType::stream);
      } else {
        add(start_of(previous), start_of(i), follows ? span.start - y.start : 0, EdgeType::stream);
      }
      has_start = has_start || follows;
    }
    if (!has_start) add(graph_.source(), start_of(i), span.start, EdgeType::release);
    add(start_of(i), end_of(i), duration, EdgeType::span);
    for (const Op& op : ops_of(timeline_, span)) add_data(i, op);
  }

  void add_data(std::int32_t i, Op op) {
    if (op.kind != Kind::F && op.kind != Kind::I && op.kind != Kind::B) return;
    const bool forward = op.kind == Kind::F;
    op.kind = forward ? Kind::RECV_F : Kind::RECV_B;
    for (const std::int32_t from : {index_.find(op), index_.producer(op)}) {
      if (from < 0 || from == i || timeline_.spans[from].end > timeline_.spans[i].start) continue;
      if (from == timeline_.spans[i].waited_for) continue;
      add(end_of(from), start_of(i), 0, EdgeType::data);
    }
  }

  void sort_edges() {
    graph_.first.assign(graph_.vertex_count() + 1, 0);
    for (const GraphEdge& edge : edges_) ++graph_.first[edge.from + 1];
    for (std::size_t v = 1; v < graph_.first.size(); ++v) graph_.first[v] += graph_.first[v - 1];
    graph_.edges.resize(edges_.size());
    std::vector<std::int32_t> next(graph_.first.begin(), graph_.first.end() - 1);
    for (const GraphEdge& edge : edges_) graph_.edges[next[edge.from]++] = edge;
  }

  // span -> its place by start, then end, then number: the order that streams keep to.
  std::vector<std::int32_t> places_by_start() const {
    std::vector<std::int32_t> spans(timeline_.spans.size()), place(spans.size());
    std::iota(spans.begin(), spans.end(), 0);
    std::sort(spans.begin(), spans.end(), [&](std::int32_t a, std::int32_t b) {
      const Span &x = timeline_.spans[a], &y = timeline_.spans[b];
      return std::tuple(x.start, x.end, a) < std::tuple(y.start, y.end, b);
    });
    for (std::size_t k = 0; k < spans.size(); ++k) place[spans[k]] = static_cast<std::int32_t>(k);
    return place;
  }

  // False where there is a circle.
  bool find_order() {
    graph_.order.clear();
    graph_.order.reserve(graph_.vertex_count());
    std::vector<boost::default_color_type> color(graph_.vertex_count(), boost::white_color);
    try {
      boost::topological_sort(graph_, std::back_inserter(graph_.order),
                              boost::color_map(boost::make_iterator_property_map(
                                  color.begin(), boost::typed_identity_property_map<Vertex>())));
    } catch (const boost::not_a_dag&) {
      return false;
    }
    std::reverse(graph_.order.begin(), graph_.order.end());
    return true;
  }

  const Timeline& timeline_;
  SpanIndex index_;
  ExecutedGraph graph_;
  std::vector<GraphEdge> edges_;
};

}  // namespace

ExecutedGraph executed_graph(const Timeline& timeline) { return Builder(timeline).build(); }

}  // namespace bubblescope
