// Explains every gap of every rank by walking back along the executed edges.
#include "analysis/idle.hpp"

#include <algorithm>

#include "analysis/span_index.hpp"

namespace bubblescope {

std::string_view idle_cause_name(IdleCause cause) {
  static constexpr std::string_view kNames[kIdleCauses] = {
      "fill",      "drain",           "starved",     "communication", "blocked",
      "imbalance", "synchronisation", "host_launch", "input_pipeline"};
  return kNames[static_cast<int>(cause)];
}

namespace {

// What the time between the end of what was waited for and the start of the waiting op is.
IdleCause delay_cause(Wait wait) {
  switch (wait) {
    case Wait::data:
    case Wait::transfer: return IdleCause::communication;
    case Wait::channel_order:
    case Wait::capacity: return IdleCause::blocked;
    case Wait::sync: return IdleCause::synchronisation;
    case Wait::input: return IdleCause::input_pipeline;
    case Wait::nothing:
    case Wait::stream:
    case Wait::host: break;
  }
  return IdleCause::host_launch;
}

class Walk {
 public:
  Walk(const Timeline& timeline, const SpanIndex& index) : timeline_(timeline), index_(index) {}

  // Pieces of [a, b), which span x ends, latest first.
  std::vector<IdlePiece> explain(std::int32_t x, Nanos a, Nanos b) {
    pieces_.clear();
    rank_ = rank_of(timeline_, span(x));
    at_barrier_ = false;
    start_ = a;
    time_ = b;
    // A walk visits a span at most once per moment; more steps than that without progress means the
    // edges run in a circle (a foreign trace), and the rest has no known cause.
    int stuck = 0;
    const int limit = 16 + 4 * static_cast<int>(timeline_.tracks.size());
    while (time_ > start_ && x >= 0) {
      const Nanos before = time_;
      const std::int32_t next = step(x);
      stuck = time_ < before ? 0 : stuck + 1;
      if (stuck > limit) break;
      x = next;
    }
    down_to(start_, IdleCause::host_launch);
    return std::move(pieces_);
  }

 private:
  const Span& span(std::int32_t i) const { return timeline_.spans[i]; }

  void down_to(Nanos from, IdleCause cause) {
    from = std::max(from, start_);
    if (from >= time_) return;
    pieces_.push_back({rank_, from, time_, cause});
    time_ = from;
  }

  // One step back from `x`; returns the span to go on with, or -1 at the end of what is known.
  std::int32_t step(std::int32_t x) {
    const Span& current = span(x);
    const std::int32_t y = binding(x);
    if (current.has_op && is_collective(current.op.kind)) return barrier(x, -1);
    if (current.wait == Wait::sync) return barrier(x, y);
    if (current.wait == Wait::capacity) return capacity(x, y);
    if (current.wait == Wait::channel_order) return channel_order(x);
    if (y < 0) {
      down_to(start_, delay_cause(current.wait));
      return -1;
    }
    const Span& waited = span(y);
    down_to(waited.end, delay_cause(current.wait));
    if (waited.has_op && is_collective(waited.op.kind)) return barrier(y, -1);
    if (waits_inside(y)) return y;
    down_to(waited.start, running_cause(waited, current.wait));
    return y;
  }

  IdleCause work_cause() const { return at_barrier_ ? IdleCause::imbalance : IdleCause::starved; }

  std::int32_t binding(std::int32_t x) const {
    const Span& current = span(x);
    if (current.waited_for >= 0 && current.waited_for != x) return current.waited_for;
    return current.wait == Wait::stream ? index_.previous(x) : -1;
  }

  // A send or receive that waited inside its own interval: a send until it was accepted, a receive
  // that was posted before its data was there.
  bool waits_inside(std::int32_t y) const {
    const Span& waited = span(y);
    if (!waited.has_op || !is_p2p(waited.op.kind) || waited.waited_for < 0) return false;
    const Span& cause = span(waited.waited_for);
    if (waited.wait == Wait::capacity || waited.wait == Wait::channel_order) {
      return cause.start > waited.start && cause.start <= waited.end;
    }
    return cause.end > waited.start && cause.end <= waited.end;
  }

  IdleCause running_cause(const Span& waited, Wait wait) const {
    if (is_busy(timeline_, waited)) return work_cause();
    if (waited.has_op && waited.op.kind == Kind::LOAD) return IdleCause::input_pipeline;
    if (timeline_.tracks[waited.track].stream == StreamKind::host || wait == Wait::host) return IdleCause::host_launch;
    return wait == Wait::input ? IdleCause::input_pipeline : IdleCause::communication;
  }

  // Synchronisation since the last member came; on with the work that kept it.
  std::int32_t barrier(std::int32_t x, std::int32_t y) {
    Rank last = -1;
    if (y >= 0 && !(span(y).has_op && is_collective(span(y).op.kind))) {
      last = rank_of(timeline_, span(y));
    } else {
      const std::int32_t meeting = y >= 0 ? y : x;
      Nanos latest = -1;
      if (span(meeting).has_op && is_collective(span(meeting).op.kind)) {
        for (const std::int32_t member : index_.members(meeting)) {
          const Rank rank = rank_of(timeline_, span(member));
          const std::int32_t work = index_.last_busy_before(rank, span(member).start);
          if (work >= 0 && span(work).end > latest) {
            latest = span(work).end;
            last = rank;
          }
        }
      }
    }
    const std::int32_t work = last < 0 ? -1 : last_started_before(last, time_);
    if (work < 0) {
      down_to(start_, IdleCause::synchronisation);
      return -1;
    }
    down_to(span(work).end, IdleCause::synchronisation);
    at_barrier_ = true;
    down_to(span(work).start, work_cause());
    return work;
  }

  std::int32_t last_started_before(Rank rank, Nanos time) const {
    const auto busy = index_.busy(rank);
    const auto it = std::lower_bound(busy.begin(), busy.end(), time,
                                     [&](std::int32_t i, Nanos t) { return span(i).start < t; });
    return it == busy.begin() ? -1 : *(it - 1);
  }

  std::int32_t capacity(std::int32_t x, std::int32_t y) {
    const auto is_a_send = [&](std::int32_t i) { return i >= 0 && span(i).has_op && is_send(span(i).op.kind); };
    const std::int32_t send = is_a_send(x) ? x : is_a_send(y) ? y : -1;
    if (send < 0) {
      down_to(start_, IdleCause::blocked);
      return -1;
    }
    if (send == x && !waits_inside(x)) return since_made(span(x).op);
    down_to(span(send).start, IdleCause::blocked);
    return running(index_.last_busy_before(rank_of(timeline_, span(send)), span(send).start), Wait::transfer);
  }

  std::int32_t channel_order(std::int32_t x) {
    const Span& current = span(x);
    const std::int32_t y = current.waited_for;
    const bool by_transfer = current.has_op && is_compute(current.op.kind) && y >= 0 && span(y).has_op;
    return since_made(by_transfer ? span(y).op : current.op);
  }

  // Blocked since the data of a transfer was made; on with what made it.
  std::int32_t since_made(const Op& transfer) {
    const std::int32_t producer = index_.producer(transfer);
    if (producer < 0 || span(producer).end > time_) {
      down_to(start_, IdleCause::blocked);
      return -1;
    }
    down_to(span(producer).end, IdleCause::blocked);
    return running(producer, Wait::data);
  }

  // On with `work`: what lies between its end and now is `wait`'s delay, its own time starvation.
  std::int32_t running(std::int32_t work, Wait wait) {
    if (work < 0 || time_ <= start_) return -1;
    down_to(span(work).end, delay_cause(wait));
    down_to(span(work).start, work_cause());
    return work;
  }

  const Timeline& timeline_;
  const SpanIndex& index_;
  std::vector<IdlePiece> pieces_;
  Rank rank_ = 0;
  bool at_barrier_ = false;  // what is walked along is why the last member of a barrier came late
  Nanos start_ = 0, time_ = 0;
};

}  // namespace

IdleSplit split_idle(const Timeline& timeline) {
  const SpanIndex index(timeline);
  Nanos makespan = 0;
  for (const Span& span : timeline.spans) makespan = std::max(makespan, span.end);

  IdleSplit split;
  split.ranks.resize(timeline.ranks);
  Walk walk(timeline, index);
  for (Rank rank = 0; rank < timeline.ranks; ++rank) {
    auto& sums = split.ranks[rank];
    sums.fill(0);
    const std::size_t first_piece = split.pieces.size();
    const auto add = [&](const IdlePiece& piece) {
      if (piece.end <= piece.start) return;
      sums[static_cast<int>(piece.cause)] += piece.end - piece.start;
      if (split.pieces.size() > first_piece && split.pieces.back().cause == piece.cause &&
          split.pieces.back().end == piece.start) {
        split.pieces.back().end = piece.end;
      } else {
        split.pieces.push_back(piece);
      }
    };
    const auto busy = index.busy(rank);
    if (busy.empty()) {
      add({rank, 0, makespan, IdleCause::fill});
      continue;
    }
    Nanos covered = timeline.spans[busy.front()].start;
    add({rank, 0, covered, IdleCause::fill});
    for (const std::int32_t i : busy) {
      const Span& span = timeline.spans[i];
      if (span.start > covered) {
        const std::vector<IdlePiece> pieces = walk.explain(i, covered, span.start);
        for (auto it = pieces.rbegin(); it != pieces.rend(); ++it) add(*it);
      }
      covered = std::max(covered, span.end);
    }
    add({rank, covered, makespan, IdleCause::drain});
  }
  return split;
}

}  // namespace bubblescope
