// Matches the ops of two Timelines and measures how far they are apart.
#include "analysis/compare.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include <fmt/format.h>

#include "analysis/bubbles.hpp"
#include "analysis/span_index.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

std::string_view divergence_name(Divergence divergence) {
  switch (divergence) {
    case Divergence::waits_for_another: return "waits for another";
    case Divergence::predecessor_longer: return "predecessor's duration";
    case Divergence::delay_after: return "delay after predecessor";
    case Divergence::own_start: break;
  }
  return "own start";
}

namespace {

// Identity, plus the rank where there is no stage, and the how-manieth of its kind it is.
struct MatchKey {
  OpKey op;
  std::int32_t rank;
  std::int32_t name;  // of a compound: in a table both Timelines share
  std::int32_t occurrence;
  friend bool operator==(const MatchKey&, const MatchKey&) = default;
};
struct MatchKeyHash {
  std::size_t operator()(const MatchKey& key) const {
    return OpKeyHash()(key.op) ^ (static_cast<std::size_t>(key.rank) * 0x9e3779b97f4a7c15ull) ^
           (static_cast<std::size_t>(key.name) << 20) ^ (static_cast<std::size_t>(key.occurrence) << 40);
  }
};
using Names = std::unordered_map<std::string, std::int32_t>;
using Matches = std::unordered_map<MatchKey, std::int32_t, MatchKeyHash>;

std::int32_t first_iteration(const Timeline& timeline) {
  std::int32_t first = -1;
  for (const Span& span : timeline.spans) {
    if (span.has_op && (first < 0 || span.op.iteration < first)) first = span.op.iteration;
  }
  return std::max(first, 0);
}

// Ops by key; keys[i] is where span i stands (for spans with an op).
Matches match_keys(const Timeline& timeline, Names& names) {
  Matches matches;
  matches.reserve(timeline.spans.size());
  const std::int32_t first = first_iteration(timeline);
  std::unordered_map<MatchKey, std::int32_t, MatchKeyHash> seen;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(timeline.spans.size()); ++i) {
    const Span& span = timeline.spans[i];
    if (!span.has_op) continue;
    Op op = span.op;
    op.iteration -= first;
    MatchKey key{OpKey(op), op.stage < 0 ? rank_of(timeline, span) : -1, -1, 0};
    if (is_compound(op.kind)) {
      key.name = names.try_emplace(timeline.span_name(span), static_cast<std::int32_t>(names.size())).first->second;
    }
    if (!matches.try_emplace(key, i).second) {
      const MatchKey plain = key;
      key.occurrence = ++seen[plain];
      matches.emplace(key, i);
    }
  }
  return matches;
}

// Gathers durations, then turns them into statistics.
class Errors {
 public:
  void add(Nanos a, Nanos b) {
    ++count_;
    sum_a_ += static_cast<double>(a);
    sum_b_ += static_cast<double>(b);
    if (b > 0) relative_.push_back(std::abs(static_cast<double>(a - b)) / static_cast<double>(b));
  }
  ErrorStats stats() {
    ErrorStats stats;
    stats.count = count_;
    if (sum_b_ > 0) stats.bias = (sum_a_ - sum_b_) / sum_b_;
    if (relative_.empty()) return stats;
    std::sort(relative_.begin(), relative_.end());
    const std::size_t n = relative_.size();
    stats.median = n % 2 ? relative_[n / 2] : (relative_[n / 2 - 1] + relative_[n / 2]) / 2;
    stats.p90 = relative_[(n * 9 + 9) / 10 - 1];
    stats.max = relative_.back();
    return stats;
  }
  std::int64_t count() const { return count_; }

 private:
  std::int64_t count_ = 0;
  double sum_a_ = 0, sum_b_ = 0;
  std::vector<double> relative_;
};

std::string where(const Timeline& timeline, std::int32_t i) {
  const Span& span = timeline.spans[i];
  return fmt::format("{} (rank {}, iteration {})", timeline.span_name(span), rank_of(timeline, span), span.op.iteration);
}

std::string signed_duration(Nanos difference) {
  return fmt::format("{} {}", format_duration(std::abs(difference)), difference > 0 ? "later" : "earlier");
}

std::string label_of(const Timeline& timeline, const char* otherwise) {
  return timeline.label.empty() ? otherwise : timeline.label;
}

FirstDivergence explain(const Timeline& a, const Timeline& b, MatchedOp op, const std::vector<std::int32_t>& b_of_a) {
  const Span &in_a = a.spans[op.a], &in_b = b.spans[op.b];
  FirstDivergence result;
  result.op = op;
  result.difference = in_a.start - in_b.start;
  const std::string name_a = label_of(a, "the first"), name_b = label_of(b, "the second");
  result.text = fmt::format("{} starts {} in {} than in {}", where(a, op.a), signed_duration(result.difference), name_a, name_b);

  const std::int32_t wa = in_a.waited_for, wb = in_b.waited_for;
  const auto describe = [](const Timeline& t, const Span& span) {
    if (span.waited_for < 0) return fmt::format("for nothing ({})", wait_name(span.wait));
    return fmt::format("for {} ({})", t.span_name(t.spans[span.waited_for]), wait_name(span.wait));
  };
  if ((wa < 0) != (wb < 0) || (wa >= 0 && b_of_a[wa] != wb)) {
    result.reason = Divergence::waits_for_another;
    result.text += fmt::format(": in {} it waits {}, in {} {}", name_a, describe(a, in_a), name_b, describe(b, in_b));
  } else if (wa < 0) {
    result.reason = Divergence::own_start;
    result.text += ": it waits for nothing in either";
  } else {
    const Span &pa = a.spans[wa], &pb = b.spans[wb];
    const Nanos longer = pa.duration() - pb.duration();
    const Nanos delay = (in_a.start - pa.end) - (in_b.start - pb.end);
    if (std::abs(longer) >= std::abs(delay)) {
      result.reason = Divergence::predecessor_longer;
      result.text += fmt::format(": {}, which it waits for, takes {} in {} and {} in {}", a.span_name(pa),
                                 format_duration(pa.duration()), name_a, format_duration(pb.duration()), name_b);
    } else {
      result.reason = Divergence::delay_after;
      result.text += fmt::format(": it follows {} after {} in {} and {} in {}", a.span_name(pa),
                                 format_duration(std::max<Nanos>(in_a.start - pa.end, 0)), name_a,
                                 format_duration(std::max<Nanos>(in_b.start - pb.end, 0)), name_b);
    }
  }
  return result;
}

double relative(Nanos a, Nanos b) { return b > 0 ? static_cast<double>(a - b) / static_cast<double>(b) : 0.0; }

}  // namespace

Comparison compare(const Timeline& a, const Timeline& b, const CompareOptions& options) {
  Comparison result;
  const Bubbles bubbles_a = bubbles(a), bubbles_b = bubbles(b);  // also checks both
  Names names;
  const Matches keys_a = match_keys(a, names), keys_b = match_keys(b, names);

  std::vector<std::int32_t> b_of_a(a.spans.size(), -1), a_of_b(b.spans.size(), -1);
  for (const auto& [key, i] : keys_a) {
    const auto it = keys_b.find(key);
    if (it == keys_b.end()) continue;
    b_of_a[i] = it->second;
    a_of_b[it->second] = i;
    result.matched.push_back({i, it->second});
  }
  std::sort(result.matched.begin(), result.matched.end(), [&](const MatchedOp& x, const MatchedOp& y) {
    return std::pair(b.spans[x.b].start, x.b) < std::pair(b.spans[y.b].start, y.b);
  });
  const auto list_unmatched = [&](const Timeline& timeline, const std::vector<std::int32_t>& other, const std::string& label) {
    std::int64_t count = 0;
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(timeline.spans.size()); ++i) {
      if (!timeline.spans[i].has_op || other[i] >= 0) continue;
      ++count;
      if (result.unmatched.size() < options.list_at_most) {
        result.unmatched.push_back(fmt::format("only in {}: {}", label, where(timeline, i)));
      }
    }
    return count;
  };
  result.a = label_of(a, "the first");
  result.b = label_of(b, "the second");
  result.only_in_a = list_unmatched(a, b_of_a, result.a);
  result.only_in_b = list_unmatched(b, a_of_b, result.b);

  Errors all;
  std::vector<Errors> kinds(kKinds), ranks(std::max(a.ranks, b.ranks));
  for (const MatchedOp& op : result.matched) {
    const Span &x = a.spans[op.a], &y = b.spans[op.b];
    kinds[static_cast<int>(y.op.kind)].add(x.duration(), y.duration());
    if (!is_compute(y.op.kind)) continue;
    all.add(x.duration(), y.duration());
    ranks[rank_of(b, y)].add(x.duration(), y.duration());
  }
  result.ops = all.stats();
  for (int k = 0; k < kKinds; ++k) {
    if (kinds[k].count() > 0) result.kinds.push_back({static_cast<Kind>(k), kinds[k].stats()});
  }
  for (Errors& errors : ranks) result.ranks.push_back(errors.stats());

  result.makespan_error = relative(bubbles_a.makespan, bubbles_b.makespan);
  result.period_error = relative(bubbles_a.period, bubbles_b.period);
  result.idle_points = 100 * (bubbles_a.idle_fraction - bubbles_b.idle_fraction);
  for (Rank rank = 0; rank < std::min(a.ranks, b.ranks); ++rank) {
    result.rank_idle_points.push_back(100 * (relative(bubbles_b.ranks[rank].busy, bubbles_b.makespan) -
                                             relative(bubbles_a.ranks[rank].busy, bubbles_a.makespan)));
  }

  const double allowed = options.tolerance * static_cast<double>(bubbles_b.makespan);
  const MatchedOp* first = nullptr;
  const auto earliest = [&](const MatchedOp& op) { return std::min(a.spans[op.a].start, b.spans[op.b].start); };
  for (const MatchedOp& op : result.matched) {
    const auto difference = static_cast<double>(std::abs(a.spans[op.a].start - b.spans[op.b].start));
    if (difference > allowed && (!first || earliest(op) < earliest(*first))) first = &op;
  }
  if (first) result.divergence = explain(a, b, *first, b_of_a);
  return result;
}

}  // namespace bubblescope
