// Counts the entries in flight between ranks.
#include "analysis/queue_depth.hpp"

#include <algorithm>
#include <map>

#include "analysis/span_index.hpp"

namespace bubblescope {
namespace {

struct Change {
  Nanos time;
  std::int32_t by;  // -1 sorts before +1
};

ChannelDepth depth_of(Rank from, Rank to, std::vector<Change>& changes, Nanos makespan) {
  std::sort(changes.begin(), changes.end(), [](const Change& x, const Change& y) {
    return x.time != y.time ? x.time < y.time : x.by < y.by;
  });
  ChannelDepth depth{from, to, 0, 0};
  std::int32_t now = 0;
  Nanos since = 0;
  double area = 0;
  for (const Change& change : changes) {
    area += static_cast<double>(now) * static_cast<double>(change.time - since);
    since = change.time;
    now += change.by;
    depth.max_depth = std::max(depth.max_depth, now);
  }
  area += static_cast<double>(now) * static_cast<double>(makespan - since);
  if (makespan > 0) depth.mean_depth = area / static_cast<double>(makespan);
  return depth;
}

}  // namespace

std::vector<ChannelDepth> queue_depth(const Timeline& timeline) {
  const SpanIndex index(timeline);
  Nanos makespan = 0;
  bool sends = false;
  const auto is_any_send = [](const Op& op) { return is_send(op.kind); };
  for (const Span& span : timeline.spans) {
    makespan = std::max(makespan, span.end);
    if (!span.has_op || sends) continue;
    const std::vector<Op> ops = ops_of(timeline, span);
    sends = std::any_of(ops.begin(), ops.end(), is_any_send);
  }
  std::map<std::pair<Rank, Rank>, std::vector<Change>> channels;
  for (const Span& span : timeline.spans) {
    for (Op op : ops_of(timeline, span)) {
      if (!sends) {
        if (op.kind != Kind::F && op.kind != Kind::B && op.kind != Kind::I) continue;
        op.kind = op.kind == Kind::F ? Kind::SEND_F : Kind::SEND_B;
      }
      if (!is_send(op.kind)) continue;
      const std::int32_t used = index.consumer(op);
      const std::int32_t received = used >= 0 ? used : index.partner(op);
      if (received < 0) continue;  // nobody takes it: the other end is not known
      const Rank from = rank_of(timeline, span), to = rank_of(timeline, timeline.spans[received]);
      if (from == to) continue;
      const Nanos taken = used >= 0 ? timeline.spans[used].start : makespan;
      auto& changes = channels[{from, to}];
      if (taken <= span.end) continue;  // handed over at once: never in the queue
      changes.push_back({span.end, 1});
      changes.push_back({taken, -1});
    }
  }
  std::vector<ChannelDepth> depths;
  for (auto& [ends, changes] : channels) depths.push_back(depth_of(ends.first, ends.second, changes, makespan));
  return depths;
}

}  // namespace bubblescope
