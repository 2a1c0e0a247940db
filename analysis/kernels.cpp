// Sums over the unions of intervals.
#include "analysis/kernels.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "analysis/span_index.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

struct Interval {
  Nanos start;
  Nanos end;
};
using Intervals = std::vector<Interval>;  // by start, apart from each other

Intervals union_of(Intervals all) {
  std::sort(all.begin(), all.end(), [](const Interval& a, const Interval& b) { return a.start < b.start; });
  Intervals merged;
  for (const Interval& next : all) {
    if (!merged.empty() && next.start <= merged.back().end) merged.back().end = std::max(merged.back().end, next.end);
    else merged.push_back(next);
  }
  return merged;
}

Nanos length(const Intervals& intervals) {
  Nanos sum = 0;
  for (const Interval& interval : intervals) sum += interval.end - interval.start;
  return sum;
}

Intervals within(const Intervals& intervals, Nanos start, Nanos end) {
  Intervals cut;
  for (const Interval& interval : intervals) {
    const Interval part{std::max(interval.start, start), std::min(interval.end, end)};
    if (part.start < part.end) cut.push_back(part);
  }
  return cut;
}

/// What of [start, end) is in none of them.
Intervals gaps(const Intervals& intervals, Nanos start, Nanos end) {
  Intervals free;
  for (const Interval& interval : intervals) {
    if (interval.start > start) free.push_back({start, std::min(interval.start, end)});
    start = std::max(start, interval.end);
    if (start >= end) return free;
  }
  if (start < end) free.push_back({start, end});
  return free;
}

/// What one op ran.
struct Ran {
  Intervals kernels, copies;
};

/// By rank, iteration and cell: when hosts issued the ops.
using Issues = std::map<std::tuple<Rank, std::int32_t, std::string>, Interval>;

Issues issues_of(const Timeline& timeline) {
  constexpr std::string_view kLaunch = "launch ";
  Issues issues;
  for (const Span& span : timeline.spans) {
    const Track& track = timeline.tracks[at(span.track)];
    if (span.has_op || track.stream != StreamKind::host) continue;
    const std::string name = timeline.span_name(span);
    if (name.starts_with(kLaunch)) issues[{track.rank, span.op.iteration, name.substr(kLaunch.size())}] = {span.start, span.end};
  }
  return issues;
}

class Uses {
 public:
  void add(const std::string& name, Nanos time) {
    KernelUse& use = uses_[name];
    ++use.launches;
    use.time += time;
  }
  std::vector<KernelUse> longest(std::size_t count) const {
    std::vector<KernelUse> all;
    for (const auto& [name, use] : uses_) all.push_back({name, use.launches, use.time});
    std::stable_sort(all.begin(), all.end(), [](const KernelUse& a, const KernelUse& b) { return a.time > b.time; });
    if (all.size() > count) all.resize(count);
    return all;
  }

 private:
  std::map<std::string, KernelUse> uses_;
};

}  // namespace

KernelBreakdown kernel_breakdown(const Timeline& timeline) {
  const SpanIndex check(timeline);
  std::map<std::int32_t, Ran> ran;  // by the op's span
  std::map<std::tuple<Rank, Stage, Kind>, std::pair<KernelGroup, Uses>> groups;
  const auto group_of = [&](const Span& op) -> auto& { return groups[{rank_of(timeline, op), op.op.stage, op.op.kind}]; };
  Uses all;
  for (std::size_t i = 0; i < timeline.spans.size(); ++i) {
    const Span& span = timeline.spans[i];
    if (!is_part(timeline, span)) continue;
    if (span.waited_for < 0 || !timeline.spans[at(span.waited_for)].has_op) {
      throw InputError(fmt::format("timeline '{}': span {} is a kernel of no op", timeline.label, i));
    }
    auto& [group, uses] = group_of(timeline.spans[at(span.waited_for)]);
    Ran& of_op = ran[span.waited_for];
    if (timeline.tracks[at(span.track)].stream == StreamKind::kernel) {
      of_op.kernels.push_back({span.start, span.end});
      ++group.kernels;
      const std::string name = timeline.span_name(span);
      uses.add(name, span.duration());
      all.add(name, span.duration());
    } else {
      of_op.copies.push_back({span.start, span.end});
      ++group.copies;
      group.bytes += span.bytes;
    }
  }
  const Issues issues = issues_of(timeline);
  for (std::size_t i = 0; i < timeline.spans.size(); ++i) {
    const Span& op = timeline.spans[i];
    const auto found = groups.find({rank_of(timeline, op), op.op.stage, op.op.kind});
    if (!op.has_op || found == groups.end()) continue;
    KernelGroup& group = found->second.first;
    Ran& parts = ran[static_cast<std::int32_t>(i)];
    const Intervals kernels = union_of(parts.kernels);
    parts.copies.insert(parts.copies.end(), kernels.begin(), kernels.end());
    const Intervals both = union_of(std::move(parts.copies));
    const Nanos in_kernels = length(within(kernels, op.start, op.end)), in_both = length(within(both, op.start, op.end));
    const Intervals free = gaps(both, op.start, op.end);
    ++group.ops;
    group.op_time += op.duration();
    group.kernel_time += in_kernels;
    group.copy_time += in_both - in_kernels;
    group.gap_time += length(free);
    group.outside_time += length(both) - in_both;
    if (const auto issue = issues.find({rank_of(timeline, op), op.op.iteration, timeline.span_name(op)}); issue != issues.end()) {
      group.issuing_time += length(within(free, issue->second.start, issue->second.end));
    }
  }
  KernelBreakdown result;
  for (auto& [key, value] : groups) {
    auto& [group, uses] = value;
    std::tie(group.rank, group.stage, group.kind) = key;
    group.longest = uses.longest(5);
    result.groups.push_back(std::move(group));
  }
  result.longest = all.longest(10);
  return result;
}

}  // namespace bubblescope
