// The executed graph: what happened before what, and how long it took. Flat arrays (compressed sparse
// rows) with an adaptor that lets Boost.Graph's algorithms run on them in place.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <boost/graph/graph_traits.hpp>
#include <boost/iterator/counting_iterator.hpp>

#include "sim/core/timeline.hpp"

namespace bubblescope {

/// Two vertices per span, its start (2i) and its end (2i + 1), and a source at time zero (2n).
using Vertex = std::int32_t;

enum class EdgeType : std::uint8_t {
  span,      ///< start to end of one span; weight: its duration
  stream,    ///< to the next span of the track (transfers overlap: there only where it waited for that)
  executed,  ///< from the span that was waited for; weight: the delay after it
  data,      ///< from a receive to the op that uses it, from a forward to the next stage's: known by
             ///< identity, weight 0 (it did not bind, but would if other things got faster)
  release,   ///< from time zero to a span that waited for nothing
};

struct GraphEdge {
  Vertex from = 0;
  Vertex to = 0;
  Nanos weight = 0;
  EdgeType type = EdgeType::span;
};

/// Longest path lengths from the source reproduce every start and end of the Timeline.
///
/// An executed edge joins the end of the span that was waited for to the start of the waiting one.
/// Where that end comes later than the waiting start, the wait was inside the waiting span: a send
/// until its entry is accepted, a receive posted early; then the edge goes to its end, and its
/// duration is waiting, not work. Where what was waited for had not ended even then (a queue entry is
/// taken at the consumer's start), the edge leaves from its start.
struct ExecutedGraph {
  std::int32_t span_count = 0;
  std::vector<GraphEdge> edges;              ///< sorted by `from`
  std::vector<std::int32_t> first;           ///< vertex -> its first edge; one more at the end
  std::vector<Vertex> order;                 ///< topological: every edge goes forward in it
  std::int32_t vertex_count() const { return 2 * span_count + 1; }
  Vertex source() const { return 2 * span_count; }
};

/// Spans may wait for each other at one and the same time (both ends of a rendezvous); of such edges
/// only those that follow the order of the spans are kept. Throws InputError where the Timeline is
/// inconsistent, or spans still wait for each other in a circle.
ExecutedGraph executed_graph(const Timeline& timeline);

// Boost.Graph's free functions, found by argument-dependent lookup.
struct ExecutedGraphTraversal : boost::vertex_list_graph_tag, boost::incidence_graph_tag {};
inline auto out_edges(Vertex v, const ExecutedGraph& g) {
  return std::pair(boost::counting_iterator<std::int32_t>(g.first[v]),
                   boost::counting_iterator<std::int32_t>(g.first[v + 1]));
}
inline std::int32_t out_degree(Vertex v, const ExecutedGraph& g) { return g.first[v + 1] - g.first[v]; }
inline Vertex source(std::int32_t edge, const ExecutedGraph& g) { return g.edges[edge].from; }
inline Vertex target(std::int32_t edge, const ExecutedGraph& g) { return g.edges[edge].to; }
inline auto vertices(const ExecutedGraph& g) {
  return std::pair(boost::counting_iterator<Vertex>(0), boost::counting_iterator<Vertex>(g.vertex_count()));
}
inline std::int32_t num_vertices(const ExecutedGraph& g) { return g.vertex_count(); }

}  // namespace bubblescope

template <>
struct boost::graph_traits<bubblescope::ExecutedGraph> {
  using vertex_descriptor = bubblescope::Vertex;
  using edge_descriptor = std::int32_t;
  using directed_category = boost::directed_tag;
  using edge_parallel_category = boost::allow_parallel_edge_tag;
  using traversal_category = bubblescope::ExecutedGraphTraversal;
  using vertex_iterator = boost::counting_iterator<bubblescope::Vertex>;
  using out_edge_iterator = boost::counting_iterator<std::int32_t>;
  using vertices_size_type = std::int32_t;
  using edges_size_type = std::int32_t;
  using degree_size_type = std::int32_t;
  static vertex_descriptor null_vertex() { return -1; }
};
