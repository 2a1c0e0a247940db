// From the ranks' records to one Timeline.
#include "backend/records.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/core/index.hpp"
#include "sim/core/tracks.hpp"

namespace bubblescope {
namespace {

/// Fills in the sends: how a transfer went is known once it was taken.
void complete_sends(const Program& program, const std::vector<RankRecord>& records, std::vector<std::vector<Record>>& spans) {
  const ChainLinks links = chain_links(program);
  for (const RankRecord& record : records) {
    for (const Delivery& delivery : record.deliveries) {
      if (delivery.send.index < 0) continue;
      Record& send = spans[at(delivery.send.rank)][at(delivery.send.index)];
      const Channel& channel = channel_of(program, links, send.op);
      if (delivery.wait != Wait::data) {
        send.wait = delivery.wait;
        send.waited_for = delivery.waited_for;
      }
      send.start = channel.send == Send::immediate ? delivery.start : delivery.offered;
      send.end = channel.send == Send::immediate ? delivery.start + delivery.wire : delivery.start;
    }
  }
}

/// From an entry's acceptance until the op that uses it starts.
std::vector<MemorySample> entries_of(const RankRecord& record) {
  std::vector<MemorySample> changes;
  for (const Delivery& delivery : record.deliveries) {
    changes.push_back({delivery.start, delivery.bytes});
    changes.push_back({delivery.taken, -delivery.bytes});
  }
  return changes;
}

}  // namespace

std::vector<MemorySample> with_entries(std::span<const MemorySample> held_samples, std::vector<MemorySample> changes) {
  const auto earlier = [](const MemorySample& a, const MemorySample& b) { return a.time < b.time; };
  std::sort(changes.begin(), changes.end(), earlier);
  std::vector<MemorySample> samples;
  std::int64_t held = held_samples.front().bytes, entries = 0;
  auto change = changes.begin();
  auto sample = held_samples.begin();
  while (change != changes.end() || sample != held_samples.end()) {
    const Nanos time = sample == held_samples.end() || (change != changes.end() && change->time < sample->time) ? change->time : sample->time;
    for (; change != changes.end() && change->time == time; ++change) entries += change->bytes;
    for (; sample != held_samples.end() && sample->time == time; ++sample) held = sample->bytes;
    samples.push_back({time, held + entries});
  }
  return samples;
}

Timeline measured_timeline(const Program& program, const std::vector<RankRecord>& records,
                           const std::vector<std::string>& names, Nanos zero) {
  Timeline timeline = empty_timeline(program, "measured");
  timeline.names = names;

  std::vector<std::vector<Record>> spans;
  for (const RankRecord& record : records) spans.push_back(record.spans);
  complete_sends(program, records, spans);

  // Tracks, and each span's track.
  std::vector<std::pair<std::int32_t, SpanRef>> order;
  Tracks tracks(timeline);
  for (Rank r = 0; r < program.ranks(); ++r) {
    for (std::size_t i = 0; i < spans[at(r)].size(); ++i) {
      Record& span = spans[at(r)][i];
      span.start = std::max(span.start, zero);
      span.end = std::max(span.end, span.start);
      order.push_back({tracks.of(r, stream_of(span.op.kind)), {r, static_cast<std::int32_t>(i)}});
    }
  }
  const auto record_of = [&](const SpanRef& ref) -> const Record& { return spans[at(ref.rank)][at(ref.index)]; };
  std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    return std::pair(a.first, record_of(a.second).start) < std::pair(b.first, record_of(b.second).start);
  });

  std::vector<std::vector<std::int32_t>> place(spans.size());
  for (std::size_t r = 0; r < spans.size(); ++r) place[r].resize(spans[r].size());
  for (std::size_t i = 0; i < order.size(); ++i) place[at(order[i].second.rank)][at(order[i].second.index)] = static_cast<std::int32_t>(i);
  timeline.spans.reserve(order.size());
  for (const auto& [on, ref] : order) {
    const Record& record = record_of(ref);
    Span span;
    span.start = record.start - zero;
    span.end = record.end - zero;
    span.op = record.op;
    span.track = on;
    if (record.waited_for.index >= 0) span.waited_for = place[at(record.waited_for.rank)][at(record.waited_for.index)];
    span.wait = record.wait;
    span.bytes = record.bytes;
    span.name = record.name;
    timeline.spans.push_back(span);
  }

  const bool memory = std::any_of(records.begin(), records.end(), [](const RankRecord& record) { return !record.memory.empty(); });
  if (memory) {
    for (const RankRecord& record : records) {
      auto& samples = timeline.memory.emplace_back(record.memory.empty() ? std::vector<MemorySample>{} : with_entries(record.memory, entries_of(record)));
      for (MemorySample& sample : samples) sample.time = std::max<Nanos>(0, sample.time - zero);
    }
  }
  return timeline;
}

}  // namespace bubblescope
