// Busy time, spans and bubbles of a Timeline.
#include "analysis/bubbles.hpp"

#include <algorithm>
#include <limits>
#include <map>

#include "analysis/span_index.hpp"

namespace bubblescope {
namespace {

// Length of the union of intervals that come in order of their start, clipped to [from, to).
class Union {
 public:
  explicit Union(Nanos from = 0, Nanos to = std::numeric_limits<Nanos>::max()) : covered_(from), to_(to) {}
  void add(const Span& span) {
    const Nanos end = std::min(span.end, to_);
    if (end <= covered_) return;
    length_ += end - std::max(span.start, covered_);
    covered_ = end;
  }
  Nanos length() const { return length_; }

 private:
  Nanos covered_, to_, length_ = 0;
};

}  // namespace

Bubbles bubbles(const Timeline& timeline) {
  const SpanIndex index(timeline);
  Bubbles result;
  result.ranks.resize(timeline.ranks);
  for (const Span& span : timeline.spans) result.makespan = std::max(result.makespan, span.end);

  std::map<std::int32_t, Nanos> iteration_end;
  for (Rank rank = 0; rank < timeline.ranks; ++rank) {
    for (const std::int32_t i : index.busy(rank)) {
      const Span& span = timeline.spans[i];
      Nanos& end = iteration_end[span.has_op ? span.op.iteration : 0];
      end = std::max(end, span.end);
    }
  }
  const std::int32_t first = iteration_end.empty() ? 0 : iteration_end.begin()->first;

  Nanos busy = 0, most_busy = 0, first_busy = 0, spans = 0, inside = 0;
  for (Rank rank = 0; rank < timeline.ranks; ++rank) {
    RankTimes& times = result.ranks[rank];
    Union all, of_first;
    Nanos start = -1, end = 0;
    for (const std::int32_t i : index.busy(rank)) {
      const Span& span = timeline.spans[i];
      all.add(span);
      if (span.has_op && span.op.iteration != first) continue;
      of_first.add(span);
      if (start < 0) start = span.start;
      end = std::max(end, span.end);
    }
    times.busy = all.length();
    times.first_busy = of_first.length();
    if (start >= 0) {
      Union within(start, end);
      for (const std::int32_t i : index.busy(rank)) {
        if (timeline.spans[i].start < end) within.add(timeline.spans[i]);
      }
      times.span = end - start;
      times.span_busy = within.length();
    }
    busy += times.busy;
    most_busy = std::max(most_busy, times.busy);
    first_busy = std::max(first_busy, times.first_busy);
    spans += times.span;
    inside += times.span_busy;
    result.span = std::max(result.span, times.span);
  }

  const auto iterations = static_cast<Nanos>(iteration_end.size());
  result.period = result.span;
  if (iterations > 1) {
    result.period = (iteration_end.rbegin()->second - iteration_end.begin()->second) / (iterations - 1);
  }

  const auto ratio = [](Nanos a, Nanos b) { return b > 0 ? static_cast<double>(a) / static_cast<double>(b) : 0.0; };
  const Nanos available = result.makespan * timeline.ranks;
  result.idle_fraction = ratio(available - busy, available);
  result.overhead = ratio(result.makespan - most_busy, most_busy);
  result.span_rate = ratio(result.span - first_busy, result.span);
  result.internal = ratio(spans - inside, spans);
  return result;
}

}  // namespace bubblescope
