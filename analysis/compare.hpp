// Comparison of two Timelines: ops matched by identity, errors per op, kind and rank, and where the
// two first part ways.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/core/timeline.hpp"

namespace bubblescope {

/// One op in both Timelines (span indices).
struct MatchedOp {
  std::int32_t a = 0;
  std::int32_t b = 0;
};

/// Relative errors (a - b) / b of durations: of their absolute values the median, the 90th percentile
/// (nearest rank) and the largest; `bias` is signed, (sum of a - sum of b) / sum of b.
struct ErrorStats {
  std::int64_t count = 0;  ///< ops; those with a zero duration in b count only for the bias
  double median = 0;
  double p90 = 0;
  double max = 0;
  double bias = 0;
};

struct KindError {
  Kind kind = Kind::F;
  ErrorStats duration;
};

/// Why the first op that differs does.
enum class Divergence : std::uint8_t {
  waits_for_another,    ///< it waited for another op in b, or for another reason
  predecessor_longer,   ///< what it waited for took longer or shorter
  delay_after,          ///< the delay between what it waited for and its start differs
  own_start,            ///< it waited for nothing and started at another time
};
std::string_view divergence_name(Divergence divergence);

struct FirstDivergence {
  MatchedOp op;
  Nanos difference = 0;  ///< start in a minus start in b
  Divergence reason = Divergence::own_start;
  std::string text;      ///< `rank 1: 1F0 starts 2.00 ms later (...): ...`
};

/// a is usually predicted, b measured: errors are relative to b.
struct Comparison {
  std::string a, b;                 ///< labels: `predicted`, `measured`; `the first`, `the second` without one
  std::vector<MatchedOp> matched;   ///< ascending by start in b
  std::int64_t only_in_a = 0;
  std::int64_t only_in_b = 0;
  std::vector<std::string> unmatched;  ///< the first few: `only in measured: 0F3 (rank 0, iteration 1)`

  ErrorStats ops;                 ///< compute ops
  std::vector<KindError> kinds;   ///< every kind that both have, ascending
  std::vector<ErrorStats> ranks;  ///< compute ops by rank

  double makespan_error = 0;  ///< (a - b) / b
  double period_error = 0;    ///< of bubbles().period
  double idle_points = 0;     ///< idle fraction of a minus that of b, in percentage points
  std::vector<double> rank_idle_points;

  std::optional<FirstDivergence> divergence;
};

struct CompareOptions {
  double tolerance = 0.01;    ///< of b's makespan: starts that differ by more have parted
  std::size_t list_at_most = 10;  ///< unmatched ops named
};

/// Iterations are counted from the first one that a Timeline has, so that a run that counted its
/// warm-up compares. Ops without a stage (barriers) are matched per rank, ops of one identity in
/// order. Throws InputError where a Timeline is inconsistent.
Comparison compare(const Timeline& a, const Timeline& b, const CompareOptions& options = {});

}  // namespace bubblescope
