// Critical path over the executed graph, what lies on it, and what would be gained if parts of it
// were faster.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/core/timeline.hpp"

namespace bubblescope {

inline constexpr int kWaits = static_cast<int>(Wait::input) + 1;

/// Time a way between two ranks is on the path. -1: not known.
struct LinkTime {
  Rank from = -1;
  Rank to = -1;
  Nanos time = 0;
  friend bool operator==(const LinkTime&, const LinkTime&) = default;
};

/// The chain of spans that ended last, each bound by the one before.
/// compute + wire + other + waiting = makespan; `length` leaves the waiting out.
struct CriticalPath {
  std::vector<std::int32_t> spans;  ///< indices into the Timeline, in time order
  Nanos makespan = 0;
  Nanos length = 0;    ///< work on the path: compute + wire + other
  Nanos compute = 0;
  Nanos wire = 0;      ///< transfers, and latency after a producer on another rank
  Nanos other = 0;     ///< host, copies, barriers' own time
  Nanos waiting = 0;   ///< time that no work explains: hand-over, wake-up, a late release
  std::vector<Nanos> by_stage;            ///< compute per stage; a compound in equal shares
  std::array<Nanos, kKinds> by_kind{};    ///< compute per kind
  std::vector<LinkTime> by_link;          ///< wire per (from, to), ascending
  std::array<Nanos, kWaits> by_wait{};    ///< waiting by what was waited for
};

/// Ties go to the executed edge, then to the stream's. Throws InputError where the Timeline is
/// inconsistent.
CriticalPath critical_path(const Timeline& timeline);

/// One part made faster, and what that would give.
struct Sensitivity {
  std::string what;     ///< `stage 2`, `link 0->1`, `launch`
  Stage stage = -1;     ///< one of the three
  Rank from = -1;
  Rank to = -1;
  Nanos makespan = 0;   ///< then
  Nanos gain = 0;       ///< makespan now minus then; never negative
};

/// What the makespan gains if each stage, each link, and the launch cost (host spans and what follows
/// a stream without a reason) takes `percent` % less time. The order of ops on every stream is kept;
/// waits are the executed ones plus those that identity tells (a receive before its use, a forward
/// before the next stage's). A dependency that did not bind and is not told by identity is not seen,
/// so a gain is an upper bound. Throws InputError unless 0 < percent <= 100.
std::vector<Sensitivity> sensitivities(const Timeline& timeline, double percent);

}  // namespace bubblescope
