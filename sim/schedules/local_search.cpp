// Simulated annealing. A move shifts one op along its row; most moves begin where the critical path passes
// from an op to the next of its rank, since no other swap of neighbours can help at once. Half of them swap every
// such pair in a stretch of the row: what helps one microbatch of a steady state helps all.
#include "sim/schedules/local_search.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>

namespace bubblescope {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

class Annealing {
 public:
  Annealing(const PipelineProblem& problem, RowOrder rows, std::uint64_t seed)
      : problem_(problem), rows_(std::move(rows)), timer_(problem), random_(seed) {
    timer_.run(rows_);
    value_ = best_value_ = value();
    best_time_ = timer_.time();
    best_ = rows_;
    alive_.resize(rows_.size());
    for (std::size_t r = 0; r < rows_.size(); ++r) count_alive(r, 0, rows_[r].size());
    for (Rank r = 0; r < problem.ranks; ++r) microbatches_.emplace_back(timer_.microbatches(r), timer_.microbatches(r) + rows_[index(r)].size());
    find_critical();
  }

  RowOrder run(const OrderTime& bound, std::int64_t rounds, double temperature) {
    const double first = temperature * static_cast<double>(best_time_.makespan);
    double heat = first;
    const double cool = std::pow(0.01, 1.0 / static_cast<double>(std::max<std::int64_t>(1, rounds)));
    for (std::int64_t i = 0; i < rounds; ++i, heat *= cool) {
      if (objective(best_time_) <= objective(bound)) break;
      step(heat);
    }
    return std::move(best_);
  }

 private:
  struct Place {
    Rank rank;
    std::int32_t position;
  };

  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  double unit() { return static_cast<double>(random_() >> 11) * 0x1.0p-53; }

  /// The objective, and a little of when all ranks end, which tells plateaus apart.
  double value() const {
    double ends = 0;
    for (Rank r = 0; r < problem_.ranks; ++r) ends += static_cast<double>(timer_.end(r, rows_[index(r)].size() - 1));
    return static_cast<double>(objective(timer_.time())) + 0.05 * ends / problem_.ranks;
  }

  void count_alive(std::size_t r, std::size_t from, std::size_t to) {
    auto& alive = alive_[r];
    alive.resize(rows_[r].size());
    std::int32_t now = from == 0 ? 0 : alive[from - 1];
    for (std::size_t i = from; i < to; ++i) {
      now += rows_[r][i].phase() == Phase::F ? 1 : rows_[r][i].phase() == Phase::W ? -1 : 0;
      alive[i] = now;
    }
  }

  /// The pairs on the way back from the last end (and from that of the longest span) where an op waits for the
  /// one before it in its row.
  void find_critical() {
    critical_.clear();
    Rank last = 0, widest = 0;
    for (Rank r = 0; r < problem_.ranks; ++r) {
      const std::size_t end = rows_[index(r)].size() - 1, top = rows_[index(last)].size() - 1;
      if (timer_.end(r, end) > timer_.end(last, top)) last = r;
      if (timer_.end(r, end) - timer_.start(r, 0) > timer_.end(widest, top) - timer_.start(widest, 0)) widest = r;
    }
    trace(last);
    if (widest != last) trace(widest);
  }

  void trace(Rank r) {
    auto at = static_cast<std::int32_t>(rows_[index(r)].size()) - 1;
    while (at >= 0) {
      const Nanos start = timer_.start(r, index(at));
      if (at > 0 && timer_.end(r, index(at) - 1) == start) {
        critical_.push_back({r, at});
        --at;
        continue;
      }
      const RowOp op = rows_[index(r)][index(at)];
      const Stage s = problem_.stage(r, op.chunk());
      const Microbatch j = timer_.microbatch(r, index(at));
      if (op.phase() == Phase::F && s > 0) {
        r = problem_.stage_rank[index(s - 1)];
        at = timer_.position(s - 1, Phase::F, j);
      } else if (op.phase() == Phase::I && s + 1 < problem_.stages()) {
        r = problem_.stage_rank[index(s + 1)];
        at = timer_.position(s + 1, Phase::I, j);
      } else {
        return;
      }
    }
  }

  /// Swaps the ops at `at` and `at + 1` of a row where that is allowed.
  bool swap(std::size_t r, std::size_t at) {
    auto& row = rows_[r];
    const RowOp a = row[at], b = row[at + 1];
    if (a == b) return false;
    if (b.chunk() == a.chunk() && static_cast<int>(b.phase()) == static_cast<int>(a.phase()) + 1 && numbers_[at] == numbers_[at + 1]) return false;
    if (a.phase() != Phase::F && b.phase() == Phase::F) {
      const std::int32_t before = at == 0 ? 0 : alive_[r][at - 1];
      if (before + 1 > problem_.limit[r]) return false;
    }
    std::swap(row[at], row[at + 1]);
    std::swap(numbers_[at], numbers_[at + 1]);
    count_alive(r, at, at + 2);
    return true;
  }

  /// Shifts the op at `from` by up to `shift` places; whether it moved.
  bool shift_op(std::size_t r, std::size_t from, int shift) {
    const auto size = static_cast<std::int64_t>(rows_[r].size());
    auto at = static_cast<std::int64_t>(from);
    const auto begin = at;
    for (int i = 0; i < std::abs(shift); ++i) {
      const std::int64_t left = shift < 0 ? at - 1 : at;
      if (left < 0 || left + 1 >= size || !swap(r, index(left))) break;
      at += shift < 0 ? -1 : 1;
    }
    return at != begin;
  }

  /// Swaps all neighbours that are like those at `at` and `at + 1` in a stretch of the row around them.
  bool swap_alike(std::size_t r, std::size_t at) {
    const auto& row = rows_[r];
    const RowOp a = row[at], b = row[at + 1];
    const std::size_t reach = row.size() >> below(6);
    const std::size_t low = chance(3) ? at : at - std::min(at, reach);
    const std::size_t high = low != at && chance(3) ? at : std::min(row.size() - 2, at + reach);
    bool moved = false;
    for (std::size_t i = low; i <= high; ++i) {
      if (row[i] == a && row[i + 1] == b && swap(r, i)) {
        moved = true;
        ++i;
      }
    }
    return moved;
  }

  void step(double heat) {
    const bool critical = !critical_.empty() && !chance(4);
    const Place place = critical ? critical_[below(critical_.size())] : Place{};
    const std::size_t r = critical ? index(place.rank) : below(rows_.size());
    const std::size_t at = critical ? index(place.position) - 1 : below(rows_[r].size() - 1);
    saved_ = rows_[r];
    saved_alive_ = alive_[r];
    numbers_.assign(microbatches_[r].begin(), microbatches_[r].end());
    bool moved = false;
    if (!chance(2)) {
      moved = swap_alike(r, at);
    } else {
      const int shift = 1 + static_cast<int>(below(critical ? 3 : 6));
      moved = chance(2) ? shift_op(r, at, shift) : shift_op(r, at + 1, -shift);
    }
    if (!moved) return;
    const bool runs = timer_.run(rows_);
    const double now = runs ? value() : 0;
    if (runs && (now <= value_ || unit() < std::exp((value_ - now) / std::max(heat, 1e-9)))) {
      value_ = now;
      microbatches_[r].assign(timer_.microbatches(static_cast<Rank>(r)), timer_.microbatches(static_cast<Rank>(r)) + rows_[r].size());
      if (now < best_value_) {
        best_value_ = now;
        best_time_ = timer_.time();
        best_ = rows_;
      }
      find_critical();
      return;
    }
    rows_[r].swap(saved_);
    alive_[r].swap(saved_alive_);
  }

  bool chance(std::uint64_t n) { return below(n) == 0; }

  const PipelineProblem& problem_;
  RowOrder rows_, best_;
  OrderTimer timer_;
  std::mt19937_64 random_;
  double value_ = 0, best_value_ = 0;
  OrderTime best_time_;
  std::vector<std::vector<std::int32_t>> alive_;
  std::vector<std::vector<Microbatch>> microbatches_;  ///< [rank][position] of the accepted order
  std::vector<Microbatch> numbers_;                    ///< of the row that is being moved
  std::vector<RowOp> saved_;
  std::vector<std::int32_t> saved_alive_;
  std::vector<Place> critical_;
};

}  // namespace

RowOrder improve_order(const PipelineProblem& problem, RowOrder rows, const OrderTime& bound, std::int64_t rounds, std::uint64_t seed,
                       double temperature) {
  return Annealing(problem, std::move(rows), seed).run(bound, rounds, temperature);
}

}  // namespace bubblescope
