// Look-ups that all analysis shares: which spans are work, what comes before what, which span ran an op.
// Works on any Timeline: predicted, measured or imported.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "sim/core/timeline.hpp"

namespace bubblescope {

/// Whether a span counts as busy: a compute op, or, where it names no op, anything on a compute or
/// worker track.
bool is_busy(const Timeline& timeline, const Span& span);

/// Whether a span is a kernel, copy or fill that an op consists of: `waited_for` is that op.
bool is_part(const Timeline& timeline, const Span& span);

/// The rank a span's track belongs to.
inline Rank rank_of(const Timeline& timeline, const Span& span) { return timeline.tracks[span.track].rank; }

/// The simple ops of a span: the parts of a compound, read from its cell; else the op itself; nothing
/// where it has no op.
std::vector<Op> ops_of(const Timeline& timeline, const Span& span);

/// What identifies an op: (iteration, replica, stage, kind, microbatch, slice). A stage is in one chain, and the
/// parts of a compound, which are read from its cell, do not say in which.
struct OpKey {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  explicit OpKey(const Op& op)
      : high(std::uint64_t(std::uint32_t(op.iteration)) << 32 | std::uint32_t(op.microbatch)),
        low(std::uint64_t(std::uint16_t(op.stage)) << 48 | std::uint64_t(op.replica) << 32 |
            std::uint64_t(op.slice) << 16 | std::uint64_t(op.kind)) {}
  friend bool operator==(const OpKey&, const OpKey&) = default;
};

struct OpKeyHash {
  std::size_t operator()(const OpKey& key) const {
    std::uint64_t h = (key.high ^ (key.low * 0x9e3779b97f4a7c15ull)) * 0xbf58476d1ce4e5b9ull;
    return static_cast<std::size_t>(h ^ (h >> 31));
  }
};

/// Order and identity of a Timeline's spans. Refers to the Timeline it was made from.
class SpanIndex {
 public:
  /// Throws InputError where a span names a track, a rank or a span that is not there, or ends before
  /// it starts.
  explicit SpanIndex(const Timeline& timeline);

  /// The span before on the same track, or -1.
  std::int32_t previous(std::int32_t span) const { return previous_[span]; }
  /// Busy spans of a rank by start.
  std::span<const std::int32_t> busy(Rank rank) const { return busy_[rank]; }
  /// The rank's busy span that ended last at or before `time`, or -1.
  std::int32_t last_busy_before(Rank rank, Nanos time) const;
  /// The span that ran `op` (as itself or as part of a compound), or -1; the first where several did.
  std::int32_t find(const Op& op) const;
  /// The counterpart of a send or receive, matched by identity and neighbouring stage, or -1.
  std::int32_t partner(const Op& op) const;
  /// The compute span that uses what `op` (a send or a receive) carries, or -1.
  std::int32_t consumer(const Op& op) const;
  /// The compute span that made what `op` (a send or a receive) carries, or -1.
  std::int32_t producer(const Op& op) const;
  /// The spans that meet `span`, itself included: the k-th SYNC of every rank, or the k-th ALLREDUCE of every
  /// copy of a stage (sim/core/constraints.hpp). Without `Timeline::chains` copies are not known.
  std::span<const std::int32_t> members(std::int32_t span) const;

 private:
  std::int32_t find_as(Op op, Kind kind, int stage) const;
  void gather_meetings(const std::vector<std::vector<std::int32_t>>& collectives);
  const Timeline& timeline_;
  std::vector<std::int32_t> previous_;
  std::vector<std::vector<std::int32_t>> busy_;
  std::vector<std::vector<std::int32_t>> meetings_;  // spans that meet
  std::vector<std::int32_t> meeting_;                // span -> index into meetings_, or -1
  std::unordered_map<OpKey, std::int32_t, OpKeyHash> by_op_;
};

}  // namespace bubblescope
