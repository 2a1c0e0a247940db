// Queue depth over time between ranks, from any Timeline.
#pragma once

#include <vector>

#include "sim/core/timeline.hpp"

namespace bubblescope {

/// Entries that were accepted and not yet taken, over all edges from one rank to another.
struct ChannelDepth {
  Rank from = 0;
  Rank to = 0;
  std::int32_t max_depth = 0;
  double mean_depth = 0;  ///< over time, from zero to the makespan
  friend bool operator==(const ChannelDepth&, const ChannelDepth&) = default;
};

/// An entry counts from its acceptance (the end of its SEND) until the op that uses it starts (F for
/// an activation, I or B for a gradient); one that is never used counts to the makespan. A Timeline
/// without sends counts from the end of the op that made the entry. At equal times taking comes
/// before accepting. Ascending by (from, to); neighbouring stages on one rank have no channel.
/// Throws InputError where the Timeline is inconsistent.
std::vector<ChannelDepth> queue_depth(const Timeline& timeline);

}  // namespace bubblescope
