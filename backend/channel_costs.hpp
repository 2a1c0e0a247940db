// What messages between two processes cost, by size, through the executor's own channels: one way while the sender
// computes, and both ways at once.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/executor.hpp"
#include "sim/core/profile.hpp"

namespace bubblescope {

struct MessageCount {
  std::int32_t most = 0;  ///< of each size and direction
  Nanos longest = 0;      ///< fewer where those would take longer
};

/// Measures messages of `sizes` bytes (the same in every process) between the first ranks of two processes: from the offer to
/// the start of the op that waited for it, one way, while the sender does `compute`, and both ways at once. Collective; there
/// must be a world. Throws RunError where a rank fails, LostError where a process is lost.
MessageTimes measure_messages(Ranks& ranks, std::pair<std::int32_t, std::int32_t> processes, std::span<const std::int64_t> sizes, MessageCount count,
                              const std::function<void(Rank, Device&)>& compute);

/// `count` barriers of all ranks: from the arrival of the last one until all go on. Likewise.
Quartiles measure_barriers(Ranks& ranks, std::int32_t count);

/// The first two processes that have one host (`same`) or two, by the names of the processes' hosts.
std::optional<std::pair<std::int32_t, std::int32_t>> first_two(const std::vector<std::string>& hosts, bool same);

}  // namespace bubblescope
