// The fast engine: one relaxation sweep; ends follow from starts at once.
#include "sim/core/sweep.hpp"

#include <algorithm>

#include "sim/engine/timing.hpp"

namespace bubblescope {
namespace {

struct TimedVisitor {
  const ConstraintGraph& graph;
  Timing& timing;
  Nanos from = 0;          // the time from which the op or group under way runs
  std::int32_t joined = -1;

  void arrive(OpIndex op) { from = timing.arrive(op); }

  void complete(OpIndex op) {
    if (const std::int32_t group = graph.group[static_cast<std::size_t>(op)]; group >= 0 && group != joined) {
      from = timing.join(group);
      joined = group;
    }
    timing.passed(op, std::max(from + timing.duration(op), timing.launched(op)));
  }
};

}  // namespace

std::vector<OpIndex> run_sweep(const ConstraintGraph& graph, Timing& timing) {
  TimedVisitor visitor{graph, timing};
  return sweep(graph, visitor);
}

}  // namespace bubblescope
