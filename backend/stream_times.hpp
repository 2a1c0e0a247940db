// From the times of events to what ran when and what it waited for.
#pragma once

#include <span>
#include <vector>

#include "backend/stream_walker.hpp"
#include "sim/core/executed.hpp"

namespace bubblescope {

/// Of every op of the run; those that were not issued end at -1. What an op waited for is what happened last of
/// all that it waited for, as long as the host had not issued the op later still: then it is the host.
std::vector<Executed> stream_times(const StreamRun& run, std::span<const StreamRecord> records);

/// Op -> its span in `stream_timeline`, which leaves out what was not issued; -1 for that.
std::vector<std::int32_t> spans_of_ops(const StreamRun& run);

/// The Timeline of the whole run, `records` by rank, with the ranks' memory.
Timeline stream_timeline(const StreamRun& run, std::span<const StreamRecord> records);

}  // namespace bubblescope
