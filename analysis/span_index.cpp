// Look-ups over a Timeline's spans, built once per analysis.
#include "analysis/span_index.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {

bool is_busy(const Timeline& timeline, const Span& span) {
  if (span.has_op) return is_compute(span.op.kind);
  const StreamKind stream = timeline.tracks[span.track].stream;
  return stream == StreamKind::compute || stream == StreamKind::worker;
}

bool is_part(const Timeline& timeline, const Span& span) {
  const StreamKind stream = timeline.tracks[span.track].stream;
  return !span.has_op && (stream == StreamKind::kernel || (stream == StreamKind::copy && span.waited_for >= 0));
}

std::vector<Op> ops_of(const Timeline& timeline, const Span& span) {
  if (!span.has_op) return {};
  if (!is_compound(span.op.kind)) return {span.op};
  std::vector<Op> ops;
  if (span.name < 0 || span.name >= static_cast<std::int32_t>(timeline.names.size())) return ops;
  std::string_view text = timeline.names[span.name];
  const std::size_t open = text.find('('), close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return ops;
  text = text.substr(open + 1, close - open - 1);
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(';'), text.size());
    if (std::optional<Op> part = parse_cell(text.substr(0, comma))) {
      part->iteration = span.op.iteration;
      part->replica = span.op.replica;
      part->chain = span.op.chain;
      ops.push_back(*part);
    }
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return ops;
}

namespace {

void check(const Timeline& timeline) {
  const auto tracks = static_cast<std::int32_t>(timeline.tracks.size());
  const auto spans = static_cast<std::int32_t>(timeline.spans.size());
  for (const Track& track : timeline.tracks) {
    if (track.rank < 0 || track.rank >= timeline.ranks) {
      throw InputError(fmt::format("timeline '{}': track '{}' is of rank {}; expected 0 to {}", timeline.label,
                                   track.name, track.rank, timeline.ranks - 1));
    }
  }
  for (std::int32_t i = 0; i < spans; ++i) {
    const Span& span = timeline.spans[i];
    if (span.track < 0 || span.track >= tracks) {
      throw InputError(fmt::format("timeline '{}': span {} is on track {}; there are {}", timeline.label, i,
                                   span.track, tracks));
    }
    if (span.end < span.start || span.start < 0) {
      throw InputError(fmt::format("timeline '{}': span {} runs from {} to {} ns; expected 0 <= start <= end",
                                   timeline.label, i, span.start, span.end));
    }
    if (span.waited_for >= spans) {
      throw InputError(fmt::format("timeline '{}': span {} waited for span {}; there are {}", timeline.label, i,
                                   span.waited_for, spans));
    }
  }
}

}  // namespace

SpanIndex::SpanIndex(const Timeline& timeline)
    : timeline_(timeline), previous_(timeline.spans.size(), -1), busy_(timeline.ranks) {
  check(timeline);
  std::vector<std::vector<std::int32_t>> collectives(at(timeline.ranks));  // rank -> SYNC, ALLREDUCE
  by_op_.reserve(timeline.spans.size());
  std::vector<std::vector<std::int32_t>> by_track(timeline.tracks.size());
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(timeline.spans.size()); ++i) {
    const Span& span = timeline.spans[i];
    const Rank rank = rank_of(timeline, span);
    by_track[span.track].push_back(i);
    if (is_busy(timeline, span)) busy_[rank].push_back(i);
    if (!span.has_op) continue;
    if (is_collective(span.op.kind)) collectives[at(rank)].push_back(i);
    if (!is_compound(span.op.kind)) {
      by_op_.try_emplace(OpKey(span.op), i);
    } else {
      for (const Op& part : ops_of(timeline, span)) by_op_.try_emplace(OpKey(part), i);
    }
  }
  const auto by_start = [&](std::int32_t a, std::int32_t b) {
    const Span &x = timeline.spans[a], &y = timeline.spans[b];
    if (x.start != y.start) return x.start < y.start;
    return x.end != y.end ? x.end < y.end : a < b;
  };
  const auto sort = [&](std::vector<std::int32_t>& list) {
    if (!std::is_sorted(list.begin(), list.end(), by_start)) std::sort(list.begin(), list.end(), by_start);
  };
  for (auto& list : busy_) sort(list);
  for (auto& list : collectives) sort(list);
  gather_meetings(collectives);
  for (auto& list : by_track) {
    sort(list);
    for (std::size_t k = 1; k < list.size(); ++k) previous_[list[k]] = list[k - 1];
  }
}

std::int32_t SpanIndex::last_busy_before(Rank rank, Nanos time) const {
  const auto& list = busy_[rank];
  auto it = std::upper_bound(list.begin(), list.end(), time,
                             [&](Nanos t, std::int32_t span) { return t < timeline_.spans[span].start; });
  while (it != list.begin()) {
    --it;
    if (timeline_.spans[*it].end <= time) return *it;
  }
  return -1;
}

std::int32_t SpanIndex::find(const Op& op) const {
  const auto it = by_op_.find(OpKey(op));
  return it == by_op_.end() ? -1 : it->second;
}

std::int32_t SpanIndex::find_as(Op op, Kind kind, int stage) const {
  op.kind = kind;
  op.stage = static_cast<std::int16_t>(stage);
  return find(op);
}

std::int32_t SpanIndex::partner(const Op& op) const {
  switch (op.kind) {
    case Kind::SEND_F: return find_as(op, Kind::RECV_F, op.stage + 1);
    case Kind::RECV_F: return find_as(op, Kind::SEND_F, op.stage - 1);
    case Kind::SEND_B: return find_as(op, Kind::RECV_B, op.stage - 1);
    case Kind::RECV_B: return find_as(op, Kind::SEND_B, op.stage + 1);
    default: return -1;
  }
}

std::int32_t SpanIndex::consumer(const Op& op) const {
  const int step = op.kind == Kind::SEND_F ? 1 : op.kind == Kind::SEND_B ? -1 : 0;
  if (op.kind == Kind::SEND_F || op.kind == Kind::RECV_F) return find_as(op, Kind::F, op.stage + step);
  if (op.kind != Kind::SEND_B && op.kind != Kind::RECV_B) return -1;
  const std::int32_t full = find_as(op, Kind::B, op.stage + step);
  return full >= 0 ? full : find_as(op, Kind::I, op.stage + step);
}

std::int32_t SpanIndex::producer(const Op& op) const {
  const int step = op.kind == Kind::RECV_F ? -1 : op.kind == Kind::RECV_B ? 1 : 0;
  if (op.kind == Kind::SEND_F || op.kind == Kind::RECV_F) return find_as(op, Kind::F, op.stage + step);
  if (op.kind != Kind::SEND_B && op.kind != Kind::RECV_B) return -1;
  const std::int32_t full = find_as(op, Kind::B, op.stage + step);
  return full >= 0 ? full : find_as(op, Kind::I, op.stage + step);
}

std::span<const std::int32_t> SpanIndex::members(std::int32_t span) const {
  const std::int32_t meeting = meeting_[at(span)];
  if (meeting < 0) return {};
  return meetings_[at(meeting)];
}

// `collectives`: rank -> its SYNCs and ALLREDUCEs by start.
void SpanIndex::gather_meetings(const std::vector<std::vector<std::int32_t>>& collectives) {
  std::vector<std::int32_t> position(at(std::max(timeline_.stages, 0)));  // in its chain; copies share it
  std::iota(position.begin(), position.end(), 0);
  for (const auto& chain : timeline_.chains) {
    for (std::size_t i = 0; i < chain.size(); ++i) {
      if (chain[i] >= 0 && chain[i] < timeline_.stages) position[at(chain[i])] = static_cast<std::int32_t>(i);
    }
  }
  meeting_.assign(timeline_.spans.size(), -1);
  std::map<std::pair<std::int32_t, std::int32_t>, std::int32_t> numbers;  // (k, position, or -1 for SYNC) -> meeting
  for (const auto& list : collectives) {
    std::map<std::int32_t, std::int32_t> count;  // SYNC: -1, else stage -> how many so far
    for (const std::int32_t span : list) {
      const Op& op = timeline_.spans[at(span)].op;
      const bool reduces = op.kind == Kind::ALLREDUCE;
      // A stage beyond those of the Timeline has no copies.
      const std::int32_t meets = !reduces ? -1 : op.stage < timeline_.stages ? position[at(op.stage)] : std::int32_t{op.stage};
      const std::pair key{count[reduces ? op.stage : -1]++, meets};
      const auto [number, is_new] = numbers.try_emplace(key, static_cast<std::int32_t>(meetings_.size()));
      if (is_new) meetings_.emplace_back();
      meetings_[at(number->second)].push_back(span);
      meeting_[at(span)] = number->second;
    }
  }
}

}  // namespace bubblescope
