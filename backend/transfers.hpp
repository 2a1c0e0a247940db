// What messages between ranks on streams cost, by size.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/executor.hpp"
#include "backend/streams.hpp"
#include "sim/core/profile.hpp"

namespace bubblescope {

/// What `measure_transfers` uses of a run's streams.
struct TransferLanes {
  std::int32_t carrier = 0;      ///< a lane of rank 0 besides the one that computes
  std::int32_t receiver = 0;     ///< of rank 1
  std::int32_t first_event = 0;  ///< of two for every op of a walk
};

/// A walk of rank 0's row on its computing lane.
struct TransferWalk {
  std::int32_t ops = 0;
  /// Issues it; returns the number of its first event: op i ends with number + 2 i + 1.
  std::function<std::int32_t(Device&)> issue;
  std::function<void()> finish;  ///< waits for it
};

/// Messages of `sizes` bytes in turns, `count` of each if the time suffices: one after every op of rank 0's walk, carried
/// to rank 1, which waits for it. Counted is what the host had issued before its op ended, and what found the
/// carrying lane idle: the rest is the host's time, or the message's before it. Of sizes that were never measured so,
/// because the host is always behind, what came after the host counts. Begins no walk after `longest`. Sizes
/// that were never carried alone are left out. Throws RunError where a device or a transfer fails.
std::vector<MeasuredTransfer> measure_transfers(Ranks& ranks, Streams& streams, const TransferLanes& lanes, const TransferWalk& walk, std::span<const std::int64_t> sizes,
                                                std::int32_t count, Nanos longest, const std::atomic<bool>* stop);

}  // namespace bubblescope
