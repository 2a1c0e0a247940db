// The event-driven list scheduler: ranks wake when an op ends or an input arrives, and take their best op.
#include "sim/schedules/list_schedule.hpp"

#include <algorithm>
#include <queue>

namespace bubblescope {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }
constexpr Nanos kUnknown = -1;

/// One pass.
class Pass {
 public:
  Pass(const PipelineProblem& problem, const ListPolicy& policy)
      : problem_(problem), policy_(policy), codes_(problem.chunks * kPhases), rows_(index(problem.ranks)),
        count_(index(problem.ranks * codes_), 0), alive_(index(problem.ranks), 0), free_(index(problem.ranks), 0),
        ready_(index(problem.stages()) * 2 * index(problem.microbatches), kUnknown) {
    std::fill(ready_.begin(), ready_.begin() + problem.microbatches, Nanos{0});
    for (Rank r = 0; r < problem.ranks; ++r) {
      rows_[index(r)].reserve(index(codes_) * index(problem.microbatches));
      unit_.push_back(static_cast<double>(problem.work(r)) / codes_);
    }
  }

  RowOrder run() {
    for (Rank r = 0; r < problem_.ranks; ++r) events_.push({0, r});
    while (!events_.empty()) {
      const auto [time, rank] = events_.top();
      events_.pop();
      if (free_[index(rank)] <= time) decide(rank, time);
    }
    return std::move(rows_);
  }

 private:
  struct Event {
    Nanos time;
    Rank rank;
    bool operator>(const Event& other) const { return time != other.time ? time > other.time : rank > other.rank; }
  };
  struct Choice {
    RowOp op;
    Nanos start = 0;
    double score = 0;
    bool found = false;
  };

  Microbatch& count(Rank r, RowOp op) { return count_[index(r * codes_ + op.code)]; }
  Microbatch pending(Rank r, int c) { return count(r, {c, Phase::I}) - count(r, {c, Phase::W}); }
  Nanos& ready(Stage s, bool backward, Microbatch j) {
    return ready_[(index(s) * 2 + backward) * index(problem_.microbatches) + index(j)];
  }

  /// The chunk whose W waits longest; -1 where none waits.
  int oldest_w(Rank r) {
    int best = -1;
    Microbatch most = 0;
    for (int c = problem_.chunks - 1; c >= 0; --c) {
      if (pending(r, c) > most) {
        most = pending(r, c);
        best = c;
      }
    }
    return best;
  }

  void consider(Rank r, RowOp op, Nanos start, double preference, Microbatch j, Choice& best) const {
    double score = static_cast<double>(start);
    if (!policy_.desired.empty()) {
      score += policy_.desire * static_cast<double>(policy_.desired[index(r * codes_ + op.code)] + policy_.period * j);
    }
    score += preference * policy_.patience * unit_[index(r)];
    if (!best.found || score < best.score) best = {op, start, score, true};
  }

  void decide(Rank r, Nanos now) {
    Choice best;
    const int w = oldest_w(r);
    Microbatch in_hand = 0;
    for (int c = 0; c < problem_.chunks; ++c) in_hand += pending(r, c);
    for (int c = 0; c < problem_.chunks; ++c) {
      const Stage s = problem_.stage(r, c);
      const RowOp backward{c, Phase::I};
      if (const Microbatch j = count(r, backward); j < problem_.microbatches) {
        if (const Nanos at = ready(s, true, j); at != kUnknown) {
          consider(r, backward, std::max(now, at), policy_.preference[backward.code], j, best);
        }
      }
      const RowOp forward{c, Phase::F};
      if (const Microbatch j = count(r, forward); j < problem_.microbatches) {
        const Nanos at = ready(s, false, j);
        if (at == kUnknown) continue;
        const bool room = alive_[index(r)] < problem_.limit[index(r)];
        const bool chunk_room = j - count(r, {c, Phase::W}) < policy_.chunk_limit[index(r * problem_.chunks + c)];
        if (room && chunk_room) {
          consider(r, forward, std::max(now, at), policy_.preference[forward.code], j, best);
        } else if (const int freeing = chunk_room ? w : pending(r, c) > 0 ? c : -1; freeing >= 0) {
          // A W makes room: it is worth what the forward is.
          const RowOp free_op{freeing, Phase::W};
          const Nanos start = std::max(now, at - problem_.cost(problem_.stage(r, freeing), Phase::W));
          consider(r, free_op, start, policy_.preference[forward.code], count(r, free_op), best);
        }
      }
    }
    if (w >= 0) {
      const RowOp fill{w, Phase::W};
      const Nanos length = problem_.cost(problem_.stage(r, w), Phase::W);
      const bool gap = !best.found || static_cast<double>(best.start - now) >= policy_.fill * static_cast<double>(length);
      if ((gap && (!best.found || best.start > now)) || in_hand > policy_.pending) best = {fill, now, 0, true};
    }
    if (!best.found) return;
    if (best.start > now) {
      events_.push({best.start, r});
    } else {
      take(r, best.op, now);
    }
  }

  void take(Rank r, RowOp op, Nanos now) {
    const Stage s = problem_.stage(r, op.chunk());
    const Microbatch j = count(r, op)++;
    const Nanos end = now + problem_.cost(s, op.phase());
    rows_[index(r)].push_back(op);
    free_[index(r)] = end;
    if (op.phase() == Phase::F) {
      ++alive_[index(r)];
      if (s + 1 == problem_.stages()) {
        deliver(s, true, j, end);
      } else {
        deliver(s + 1, false, j, end + problem_.forward_latency[index(s + 1)]);
      }
    } else if (op.phase() == Phase::I) {
      if (s > 0) deliver(s - 1, true, j, end + problem_.backward_latency[index(s - 1)]);
    } else {
      --alive_[index(r)];
    }
    events_.push({end, r});
  }

  /// The receiver learns now when its input will be there: it may wait for it, or fill the gap.
  void deliver(Stage s, bool backward, Microbatch j, Nanos at) {
    ready(s, backward, j) = at;
    events_.push({at, problem_.stage_rank[index(s)]});
  }

  const PipelineProblem& problem_;
  const ListPolicy& policy_;
  int codes_;
  RowOrder rows_;
  std::vector<Microbatch> count_;
  std::vector<std::int32_t> alive_;
  std::vector<Nanos> free_;
  std::vector<Nanos> ready_;
  std::vector<double> unit_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
};

}  // namespace

RowOrder list_schedule(const PipelineProblem& problem, const ListPolicy& policy) { return Pass(problem, policy).run(); }

}  // namespace bubblescope
