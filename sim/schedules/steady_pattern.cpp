// Shortest path over the cyclic orders of neighbouring ranks. A rank's order, its idle time spread evenly, gives
// the offsets of its ops within the period. Between two ranks remains their phase: only those phases matter that
// make one of the transfers between them wait-free.
#include "sim/schedules/steady_pattern.hpp"

#include <algorithm>
#include <limits>

namespace bubblescope {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

Nanos wrap(Nanos value, Nanos period) {
  const Nanos rest = value % period;
  return rest < 0 ? rest + period : rest;
}

/// A dependency between ops of two ranks (or of one).
struct Transfer {
  int from, to;  ///< codes
  bool down;     ///< from the lower rank to the next; else from the next to the lower
  Nanos length;  ///< of the producing op, and its way
  bool outer;    ///< counts for the activations of the chunk that starts the chain
};

class Search {
 public:
  Search(const PipelineProblem& problem, Nanos period, double hold)
      : problem_(problem), period_(period), hold_(hold), codes_(problem.chunks * kPhases) {
    std::vector<int> order(index(codes_));
    for (int i = 0; i < codes_; ++i) order[index(i)] = i;
    do {
      orders_.push_back(order);
    } while (std::next_permutation(order.begin() + 1, order.end()));
  }

  SteadyPattern run() {
    const std::size_t n = orders_.size();
    const Rank ranks = problem_.ranks;
    std::vector<double> cost(n);
    std::vector<std::vector<std::pair<std::size_t, Nanos>>> from(index(ranks), std::vector<std::pair<std::size_t, Nanos>>(n));
    std::vector<std::pair<double, Nanos>> edge;
    for (Rank r = 0; r < ranks; ++r) {
      const auto own = all_offsets(r);
      std::vector<double> node(n);
      for (std::size_t i = 0; i < n; ++i) node[i] = node_cost(r, own[i]);
      if (r == 0) {
        cost = node;
      } else {
        if (r == 1 || !same_boundary(r)) edge = edges(r - 1, last_, own);
        std::vector<double> next(n, std::numeric_limits<double>::infinity());
        for (std::size_t i = 0; i < n; ++i) {
          for (std::size_t k = 0; k < n; ++k) {
            const double total = cost[k] + edge[k * n + i].first + node[i];
            if (total < next[i]) {
              next[i] = total;
              from[index(r)][i] = {k, edge[k * n + i].second};
            }
          }
        }
        cost = std::move(next);
      }
      last_ = own;
    }
    std::vector<std::size_t> chosen(index(ranks));
    std::vector<Nanos> phase(index(ranks), 0);
    chosen.back() = index(std::min_element(cost.begin(), cost.end()) - cost.begin());
    for (Rank r = ranks - 1; r > 0; --r) chosen[index(r - 1)] = from[index(r)][chosen[index(r)]].first;
    for (Rank r = 1; r < ranks; ++r) phase[index(r)] = phase[index(r - 1)] + from[index(r)][chosen[index(r)]].second;
    return place(chosen, phase);
  }

 private:
  using Offsets = std::vector<Nanos>;  ///< code -> offset

  std::vector<Offsets> all_offsets(Rank r) const {
    std::vector<Offsets> all;
    const Nanos idle = std::max<Nanos>(0, period_ - problem_.work(r));
    for (const auto& order : orders_) {
      Offsets offsets(index(codes_));
      Nanos at = 0;
      for (std::size_t i = 0; i < order.size(); ++i) {
        offsets[index(order[i])] = at + idle * static_cast<Nanos>(i) / codes_;
        at += length(r, order[i]);
      }
      all.push_back(std::move(offsets));
    }
    return all;
  }

  Nanos length(Rank r, int code) const { return problem_.cost(problem_.stage(r, code / kPhases), static_cast<Phase>(code % kPhases)); }

  bool same_boundary(Rank r) const {
    for (int c = 0; c < problem_.chunks; ++c) {
      for (const Rank q : {r - 1, r}) {
        const auto a = index(problem_.stage(q, c)), b = index(problem_.stage(q - 1, c));
        if (problem_.duration[a] != problem_.duration[b]) return false;
        const bool ends = a == 0 || b == 0 || a + 1 == problem_.stage_rank.size() || b + 1 == problem_.stage_rank.size();
        if (!ends && (problem_.forward_latency[a] != problem_.forward_latency[b] || problem_.backward_latency[a] != problem_.backward_latency[b])) return false;
      }
    }
    return r > 2 && r + 1 < problem_.ranks;
  }

  /// Transfers between `low` and the rank above it, or on `low` alone.
  std::vector<Transfer> transfers(Rank low, bool own) const {
    std::vector<Transfer> found;
    const Stage stages = problem_.stages();
    for (int c = 0; c < problem_.chunks; ++c) {
      for (const Rank r : {low, low + 1}) {
        if (own && r != low) continue;
        const Stage s = problem_.stage(r, c);
        const RowOp f{c, Phase::F}, i{c, Phase::I};
        const auto add = [&](Stage to, RowOp from_op, Phase phase, Nanos way) {
          const Rank other = problem_.stage_rank[index(to)];
          if (own ? other != low : other != (r == low ? low + 1 : low)) return;
          const RowOp to_op{problem_.stage_chunk[index(to)], phase};
          found.push_back({from_op.code, to_op.code, r == low, problem_.cost(s, from_op.phase()) + way, c == 0});
        };
        if (s + 1 < stages) {
          add(s + 1, f, Phase::F, problem_.forward_latency[index(s + 1)]);
        } else {
          add(s, f, Phase::I, 0);
        }
        if (s > 0) add(s - 1, i, Phase::I, problem_.backward_latency[index(s - 1)]);
      }
    }
    return found;
  }

  /// Waits inside a rank: where the chain turns, and from I to W.
  double node_cost(Rank r, const Offsets& offsets) const {
    double total = 0;
    for (const Transfer& t : transfers(r, true)) {
      total += static_cast<double>(wrap(offsets[index(t.to)] - offsets[index(t.from)] - t.length, period_)) * (t.from % kPhases == 0 && t.to % kPhases == 1 ? problem_.chunks : 1);
    }
    for (int c = 0; c < problem_.chunks; ++c) {
      const RowOp i{c, Phase::I}, w{c, Phase::W};
      total += hold_ * static_cast<double>(wrap(offsets[w.code] - offsets[i.code] - length(r, i.code), period_));
    }
    return total;
  }

  /// [order of `low` * n + order of the next] -> waits on the way, and the next rank's phase against `low`.
  std::vector<std::pair<double, Nanos>> edges(Rank low, const std::vector<Offsets>& below, const std::vector<Offsets>& above) const {
    const auto between = transfers(low, false);
    const std::size_t n = orders_.size();
    std::vector<std::pair<double, Nanos>> result(n * n, {std::numeric_limits<double>::infinity(), 0});
    std::vector<Nanos> slack(between.size());
    for (std::size_t k = 0; k < n; ++k) {
      for (std::size_t i = 0; i < n; ++i) {
        // The phase at which transfer t waits for nothing; other phases wait for their distance to it.
        for (std::size_t t = 0; t < between.size(); ++t) {
          const Transfer& way = between[t];
          slack[t] = way.down ? below[k][index(way.from)] + way.length - above[i][index(way.to)]
                              : below[k][index(way.to)] - above[i][index(way.from)] - way.length;
          slack[t] = wrap(slack[t], period_);
        }
        auto& best = result[k * n + i];
        for (const Nanos phase : slack) {
          Nanos outer = 0, inner = 0;
          for (std::size_t t = 0; t < between.size(); ++t) {
            Nanos wait = between[t].down ? phase - slack[t] : slack[t] - phase;
            if (wait < 0) wait += period_;
            (between[t].outer ? outer : inner) += wait;
          }
          const double total = static_cast<double>(std::max(outer, inner)) + 0.25 * static_cast<double>(outer + inner);
          if (total < best.first) best = {total, phase};
        }
      }
    }
    return result;
  }

  SteadyPattern place(const std::vector<std::size_t>& chosen, const std::vector<Nanos>& phase) const {
    SteadyPattern pattern;
    pattern.period = period_;
    pattern.start.assign(index(problem_.ranks * codes_), 0);
    std::vector<std::vector<Offsets>> offsets;
    for (Rank r = 0; r < problem_.ranks; ++r) offsets.push_back({all_offsets(r)[chosen[index(r)]]});
    const auto slot = [&](Rank r, RowOp op, Nanos ready) {
      const Nanos start = ready + wrap(phase[index(r)] + offsets[index(r)][0][op.code] - ready, period_);
      pattern.start[index(r * codes_ + op.code)] = start;
      return start + length(r, op.code);
    };
    Nanos now = 0;
    for (Stage s = 0; s < problem_.stages(); ++s) {
      now = slot(problem_.stage_rank[index(s)], {problem_.stage_chunk[index(s)], Phase::F}, now + problem_.forward_latency[index(s)]);
    }
    for (Stage s = problem_.stages() - 1; s >= 0; --s) {
      const Rank r = problem_.stage_rank[index(s)];
      const int c = problem_.stage_chunk[index(s)];
      now = slot(r, {c, Phase::I}, now + problem_.backward_latency[index(s)]);
      slot(r, {c, Phase::W}, now);
    }
    for (Rank r = 0; r < problem_.ranks; ++r) {
      // Alive at the start of F: what began before and has not ended, counted over all microbatches.
      std::vector<std::pair<Nanos, Nanos>> lives;
      std::vector<int> chunk;
      for (int c = 0; c < problem_.chunks; ++c) {
        const Nanos from = pattern.start[index(r * codes_ + RowOp(c, Phase::F).code)];
        const RowOp w{c, Phase::W};
        lives.push_back({from, pattern.start[index(r * codes_ + w.code)] + length(r, w.code)});
      }
      std::int32_t peak = 0;
      std::vector<std::int32_t> chunk_peak(lives.size(), 0);
      for (const auto& [at, ignored] : lives) {
        std::int32_t total = 0;
        for (std::size_t c = 0; c < lives.size(); ++c) {
          // Microbatches k with from + k T <= at < to + k T.
          const auto started = (at - lives[c].first >= 0 ? (at - lives[c].first) / period_ : -((lives[c].first - at + period_ - 1) / period_));
          const auto ended = (at - lives[c].second >= 0 ? (at - lives[c].second) / period_ : -((lives[c].second - at + period_ - 1) / period_));
          const auto alive = static_cast<std::int32_t>(started - ended);
          total += alive;
          chunk_peak[c] = std::max(chunk_peak[c], alive);
        }
        peak = std::max(peak, total);
      }
      pattern.peak.push_back(peak);
      pattern.chunk_peak.insert(pattern.chunk_peak.end(), chunk_peak.begin(), chunk_peak.end());
    }
    return pattern;
  }

  const PipelineProblem& problem_;
  Nanos period_;
  double hold_;
  int codes_;
  std::vector<std::vector<int>> orders_;
  std::vector<Offsets> last_;
};

}  // namespace

SteadyPattern steady_pattern(const PipelineProblem& problem, Nanos period, double hold) { return Search(problem, period, hold).run(); }

RowOrder pattern_order(const PipelineProblem& problem, const SteadyPattern& pattern, const std::vector<std::int32_t>& shift) {
  RowOrder rows;
  const int codes = problem.chunks * kPhases;
  for (Rank r = 0; r < problem.ranks; ++r) {
    std::vector<Nanos> next;
    for (int code = 0; code < codes; ++code) next.push_back(pattern.start[index(r * codes + code)] + shift[index(code)] * pattern.period);
    std::vector<Microbatch> left(index(codes), problem.microbatches);
    std::vector<RowOp> row;
    row.reserve(index(codes) * index(problem.microbatches));
    for (std::size_t i = index(codes) * index(problem.microbatches); i > 0; --i) {
      int first = -1;
      for (int code = 0; code < codes; ++code) {
        if (left[index(code)] > 0 && (first < 0 || next[index(code)] < next[index(first)])) first = code;
      }
      row.push_back({first / kPhases, static_cast<Phase>(first % kPhases)});
      next[index(first)] += pattern.period;
      --left[index(first)];
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace bubblescope
