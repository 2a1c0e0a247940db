// Idle time per rank, split by cause. Sums exactly to makespan minus busy, for predicted and measured
// Timelines alike.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sim/core/timeline.hpp"

namespace bubblescope {

/// Why a rank stood still.
enum class IdleCause : std::uint8_t {
  fill,             ///< before the rank's first compute op (all of it, where the rank has none)
  drain,            ///< after its last, until the makespan
  starved,          ///< what it needs was still being computed, on whatever rank
  communication,    ///< what it needs was made and on its way
  blocked,          ///< a queue was full, the partner of a rendezvous had not come, or a transfer
                    ///< stood behind another one in its FIFO
  imbalance,        ///< at a barrier: the rank that came last, or what it needed, was still computing
  synchronisation,  ///< at a barrier: all had come, it took its own time
  host_launch,      ///< nothing was missing: the host had not issued the op yet
  input_pipeline,   ///< the input pipeline had not delivered
};
inline constexpr int kIdleCauses = static_cast<int>(IdleCause::input_pipeline) + 1;

/// `fill`, ..., `host_launch`, `input_pipeline`: keys in JSON.
std::string_view idle_cause_name(IdleCause cause);

/// A stretch of idle time with one cause.
struct IdlePiece {
  Rank rank = 0;
  Nanos start = 0;
  Nanos end = 0;
  IdleCause cause = IdleCause::fill;
  friend bool operator==(const IdlePiece&, const IdlePiece&) = default;
};

struct IdleSplit {
  std::vector<std::array<Nanos, kIdleCauses>> ranks;  ///< rank -> cause -> ns
  std::vector<IdlePiece> pieces;  ///< by rank, then time; neighbours of one cause are joined
};

/// Splits the idle time of every rank. A rank idles when none of its busy spans runs
/// (analysis/span_index.hpp); the gap before its first and after its last are `fill` and `drain`.
///
/// A gap [a, b) between two busy spans is explained backwards in time, from the span X that ends it
/// (cur = X, t = b), along executed edges, until a is reached. With Y the span that cur waited for:
///  1. barrier. cur waited for other members (`Wait::sync`), or Y is a SYNC or ALLREDUCE. With Z the
///     last work of the member that came last (Y itself, where Y is work): from the end of Z to t it
///     is `synchronisation`. Then on with Z; from here on, time in which work ran is `imbalance` where
///     it would be `starved` otherwise: a rank that came late because of its own work, or of work that
///     it had to wait for. Where no such work is known the rest is `synchronisation`.
///  2. `capacity`: an entry that was offered and not accepted is `blocked`. A send that holds its rank
///     covers that time itself: from its start to t, then on with the work before it; what lies between
///     the two, copying the entry out, is `communication`. Any other is
///     offered from the end of its producer: `blocked` down to there, then on with the producer.
///  3. `channel_order`: `blocked` from the end of the producer to t, then on with the producer. Where
///     the producer is not in the Timeline all of [a, t) is `blocked`.
///  4. `host`: [a, t) down to the end of Y is `host_launch`; `input` likewise `input_pipeline`.
///  5. Y ended before t: the time in between is `communication` where cur waited for data or a
///     transfer (latency, wake-up), `host_launch` where it only followed Y on its own stream.
///  6. While Y ran it is `starved` where Y is work, `communication` where Y is a transfer or copy,
///     `input_pipeline` for LOAD, `host_launch` for a span of a host track. A send or receive that
///     itself waited for something inside its own interval counts from that moment only (a receive
///     that is posted before its data is there).
///  7. On with cur = Y and t = start of Y. Where cur waited for nothing that is known, the rest is
///     `host_launch` for an op that waited for nothing or its own stream, else as in 2 to 5.
/// The time in which a producer itself stood still is thus given to what it waited for.
///
/// Throws InputError where the Timeline is inconsistent.
IdleSplit split_idle(const Timeline& timeline);

}  // namespace bubblescope
