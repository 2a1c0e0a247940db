// Hand-made Timelines for tests: spans are written down with their times and waits, or (`as_early`)
// put as early as their order and the stated waits allow.
#pragma once

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "sim/core/timeline.hpp"

namespace bubblescope {

class TimelineBuilder {
 public:
  TimelineBuilder(std::int32_t ranks, std::int32_t stages, std::int32_t microbatches) {
    timeline_.label = "predicted";
    timeline_.ranks = ranks;
    timeline_.stages = stages;
    timeline_.microbatches = microbatches;
    for (Rank r = 0; r < ranks; ++r) timeline_.tracks.push_back({r, StreamKind::compute, "compute"});
    for (Rank r = 0; r < ranks; ++r) timeline_.tracks.push_back({r, StreamKind::communication, "communication"});
    for (Rank r = 0; r < ranks; ++r) timeline_.tracks.push_back({r, StreamKind::collective, "collective"});
  }

  /// Adds a span `[start, end)` named by its cell; on the track that its kind runs on.
  std::int32_t add(Rank rank, std::string_view cell, Nanos start, Nanos end, Wait wait = Wait::nothing,
                   std::int32_t waited_for = -1, std::int32_t iteration = 0) {
    Span span;
    if (const auto op = parse_cell(cell)) {
      span.op = *op;
    } else {
      span.op.kind = *kind_from_mnemonic(cell.substr(cell.find(')') + 1));
      span.name = static_cast<std::int32_t>(timeline_.names.size());
      timeline_.names.emplace_back(cell);
    }
    span.op.iteration = iteration;
    span.start = start;
    span.end = end;
    span.wait = wait;
    span.waited_for = waited_for;
    const StreamKind stream = is_compute(span.op.kind) ? StreamKind::compute : stream_of(span.op.kind);
    const int group = stream == StreamKind::compute ? 0 : stream == StreamKind::communication ? 1 : 2;
    span.track = group * timeline_.ranks + rank;
    timeline_.spans.push_back(span);
    return static_cast<std::int32_t>(timeline_.spans.size()) - 1;
  }

  /// Adds a compute span as early as its rank and `needs` (a span, or -1) plus `latency` allow, with
  /// the waits an executor would record.
  std::int32_t as_early(Rank rank, std::string_view cell, Nanos duration, std::int32_t needs = -1, Nanos latency = 0,
                        std::int32_t iteration = 0) {
    std::int32_t before = -1;
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(timeline_.spans.size()); ++i) {
      if (timeline_.spans[i].track == rank) before = i;
    }
    Nanos start = 0;
    Wait wait = Wait::nothing;
    std::int32_t waited_for = -1;
    if (before >= 0) {
      start = timeline_.spans[before].end;
      wait = Wait::stream;
      waited_for = before;
    }
    if (needs >= 0 && timeline_.spans[needs].end + latency > start) {
      start = timeline_.spans[needs].end + latency;
      wait = latency > 0 ? Wait::transfer : Wait::data;
      waited_for = needs;
    }
    return add(rank, cell, start, start + duration, wait, waited_for, iteration);
  }

  Timeline& timeline() { return timeline_; }

 private:
  Timeline timeline_;
};

/// GPipe or 1F1B on `p` ranks with `m` microbatches, as early as possible, by the textbook order.
inline Timeline pipeline(std::int32_t p, std::int32_t m, bool one_f_one_b, Nanos forward, Nanos backward, Nanos latency = 0) {
  TimelineBuilder builder(p, p, m);
  std::vector<std::vector<std::string>> rows(p);
  for (Rank r = 0; r < p; ++r) {
    const std::int32_t warmup = one_f_one_b ? std::min(m, p - r) : m;
    std::int32_t f = 0, b = 0;
    const auto cell = [&](char kind, std::int32_t microbatch) {
      rows[r].push_back(std::to_string(r) + kind + std::to_string(microbatch));
    };
    while (f < warmup) cell('F', f++);
    while (b < m) {
      cell('B', b++);
      if (f < m) cell('F', f++);
    }
  }
  std::vector<std::size_t> next(p, 0);
  const auto find = [&](const std::string& cell) {
    const auto& spans = builder.timeline().spans;
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(spans.size()); ++i) {
      if (spans[i].op == *parse_cell(cell)) return i;
    }
    return -1;
  };
  for (bool moved = true; moved;) {
    moved = false;
    for (Rank r = 0; r < p; ++r) {
      if (next[r] == rows[r].size()) continue;
      const std::string& cell = rows[r][next[r]];
      const Op op = *parse_cell(cell);
      const bool is_forward = op.kind == Kind::F;
      const Rank neighbour = is_forward ? r - 1 : r + 1;
      std::int32_t needs = -1;
      if (neighbour >= 0 && neighbour < p) {
        needs = find(std::to_string(neighbour) + (is_forward ? 'F' : 'B') + std::to_string(op.microbatch));
        if (needs < 0) continue;
      }
      builder.as_early(r, cell, is_forward ? forward : backward, needs, latency);
      ++next[r];
      moved = true;
    }
  }
  return builder.timeline();
}

}  // namespace bubblescope
