// The executed graph: its longest paths are the times that were observed.
#include "analysis/executed_graph.hpp"

#include <algorithm>
#include <random>

#include <rapidcheck.h>

#include "sim/core/error.hpp"
#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

// Longest path lengths from the source, by relaxing all edges until nothing changes: needs no order.
std::vector<Nanos> longest(const ExecutedGraph& graph) {
  std::vector<Nanos> distance(graph.vertex_count(), -1);
  distance[graph.source()] = 0;
  for (bool changed = true; changed;) {
    changed = false;
    for (const GraphEdge& edge : graph.edges) {
      if (distance[edge.from] < 0 || distance[edge.from] + edge.weight <= distance[edge.to]) continue;
      distance[edge.to] = distance[edge.from] + edge.weight;
      changed = true;
    }
  }
  return distance;
}

TEST(ExecutedGraph, longest_paths_reproduce_a_pipeline) {
  const bool ok = rc::check([] {
    const Timeline timeline = pipeline(*rc::gen::inRange(1, 5), *rc::gen::inRange(1, 7), *rc::gen::arbitrary<bool>(),
                                       *rc::gen::inRange(1, 30), *rc::gen::inRange(1, 30), *rc::gen::inRange(0, 9));
    const std::vector<Nanos> distance = longest(executed_graph(timeline));
    for (std::size_t i = 0; i < timeline.spans.size(); ++i) {
      RC_ASSERT(distance[2 * i] == timeline.spans[i].start);
      RC_ASSERT(distance[2 * i + 1] == timeline.spans[i].end);
    }
  });
  EXPECT_TRUE(ok);
}

// Waits of all forms: inside a send (a full queue), inside a receive that was posted early, a late
// issue, and a span that waited for nothing.
TEST(ExecutedGraph, longest_paths_reproduce_waits_inside_spans) {
  TimelineBuilder builder(2, 2, 3);
  const auto f0 = builder.add(0, "0F0", 1, 4);
  const auto update = builder.add(1, "1U0", 0, 9);
  const auto taken = builder.add(1, "1F0", 9, 12, Wait::stream, update);
  const auto send = builder.add(0, "0SEND_F1", 4, 9, Wait::capacity, taken);
  builder.add(0, "0F2", 9, 14, Wait::capacity, send);
  const auto recv = builder.add(1, "1RECV_F1", 2, 13, Wait::transfer, send);
  builder.add(1, "1F1", 13, 15, Wait::transfer, recv);
  builder.add(0, "0F1", 16, 17, Wait::host, f0);
  const Timeline& timeline = builder.timeline();
  const std::vector<Nanos> distance = longest(executed_graph(timeline));
  for (std::size_t i = 0; i < timeline.spans.size(); ++i) {
    EXPECT_EQ(distance[2 * i], timeline.spans[i].start) << timeline.span_name(timeline.spans[i]);
    EXPECT_EQ(distance[2 * i + 1], timeline.spans[i].end) << timeline.span_name(timeline.spans[i]);
  }
}

TEST(ExecutedGraph, is_acyclic_for_any_timeline) {
  const bool ok = rc::check([] {
    std::mt19937 random(*rc::gen::arbitrary<unsigned>());
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    TimelineBuilder builder(3, 3, 4);
    static constexpr const char* kKinds[] = {"F", "B", "U", "SEND_F", "RECV_F", "SEND_B", "RECV_B", "SYNC"};
    const int count = 1 + below(30);
    for (int i = 0; i < count; ++i) {
      const Nanos start = below(12);
      const Rank rank = below(3);
      builder.add(rank, std::to_string(rank) + kKinds[below(8)] + std::to_string(below(4)), start, start + below(4),
                  static_cast<Wait>(below(9)), below(count));
    }
    const ExecutedGraph graph = executed_graph(builder.timeline());
    std::vector<std::int32_t> place(graph.vertex_count());
    RC_ASSERT(static_cast<std::int32_t>(graph.order.size()) == graph.vertex_count());
    for (std::size_t k = 0; k < graph.order.size(); ++k) place[graph.order[k]] = static_cast<std::int32_t>(k);
    for (const GraphEdge& edge : graph.edges) RC_ASSERT(place[edge.from] < place[edge.to]);
  });
  EXPECT_TRUE(ok);
}

}  // namespace
}  // namespace bubblescope
