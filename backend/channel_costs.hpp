// What messages between two processes cost, by size, through the executor's own channels: one way while the sender
// computes, and both ways at once.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/executor.hpp"
#include "sim/core/profile.hpp"

namespace bubblescope {

struct ChannelCosts {
  std::vector<MeasuredTransfer> one_way;   ///< by size; from the offer to the start of the op that waited for it
  std::vector<MeasuredTransfer> both_ways; ///< ... while one of the same size goes the other way
  Quartiles sync;  ///< from the arrival of the last of all ranks at a barrier until all go on
};

/// Measures messages of `sizes` bytes (the same in every process) between the first rank and the first one of the
/// next process, and barriers of all ranks: up to `count` messages of each size and direction, fewer where those would take
/// longer than `longest` (ns), and `count` barriers. `compute` is what the first rank does while its message is under way.
/// Collective; there must be a world. Throws RunError where a rank fails, LostError where a process is lost.
ChannelCosts measure_channel(Ranks& ranks, std::span<const std::int64_t> sizes, std::int32_t count, Nanos longest, const std::function<void(Device&)>& compute);

}  // namespace bubblescope
