// Cutting a timeline between iterations.
#include "sim/core/cut_iterations.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace bubblescope {
namespace {

/// Samples from `zero` on; what is held then stands at 0.
std::vector<MemorySample> samples_from(const std::vector<MemorySample>& samples, Nanos zero) {
  std::vector<MemorySample> cut;
  for (const MemorySample& sample : samples) {
    if (sample.time <= zero) cut.clear();
    cut.push_back({std::max<Nanos>(0, sample.time - zero), sample.bytes});
  }
  return cut;
}

}  // namespace

Timeline cut_iterations(const Timeline& timeline, std::int32_t first) {
  Timeline cut = timeline;
  cut.iterations = timeline.iterations - first;
  Nanos zero = std::numeric_limits<Nanos>::max();
  for (const Span& span : timeline.spans) {
    if (span.has_op && is_compute(span.op.kind) && span.op.iteration >= first) zero = std::min(zero, span.start);
  }
  std::vector<std::int32_t> moved(timeline.spans.size(), -1);
  cut.spans.clear();
  for (std::size_t i = 0; i < timeline.spans.size(); ++i) {
    Span span = timeline.spans[i];
    if (span.op.iteration < first) continue;
    moved[i] = static_cast<std::int32_t>(cut.spans.size());
    span.op.iteration -= first;
    span.start = std::max<Nanos>(0, span.start - zero);
    span.end = std::max<Nanos>(0, span.end - zero);
    cut.spans.push_back(span);
  }
  for (Span& span : cut.spans) {
    if (span.waited_for >= 0) span.waited_for = moved[static_cast<std::size_t>(span.waited_for)];
  }
  for (auto& samples : cut.memory) samples = samples_from(samples, zero);
  return cut;
}

}  // namespace bubblescope
