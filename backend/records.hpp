// What the ranks record while they run, and how it becomes a Timeline.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend/channels.hpp"
#include "sim/core/program.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {

/// A span as a rank records it; times of the steady clock.
struct Record {
  Nanos start = 0;
  Nanos end = 0;
  Op op;
  SpanRef waited_for;
  Wait wait = Wait::nothing;
  std::int64_t bytes = 0;
  std::int32_t name = -1;
};

/// One rank's record, written by its own thread only, into memory reserved beforehand.
struct RankRecord {
  std::vector<Record> spans;
  std::vector<Delivery> deliveries;   ///< of the messages it took
  std::vector<MemorySample> memory;   ///< times of the steady clock
};

/// A rank's memory with the entries that wait for it, which no device holds. `changes`: in any order, what is
/// accepted and what is taken.
std::vector<MemorySample> with_entries(std::span<const MemorySample> held, std::vector<MemorySample> changes);

/// Puts the ranks' records on tracks: compute for every rank, others where used. `zero` is
/// the time that becomes 0 (what began earlier is cut off there); `names` are the cells of compounds.
/// A send that held its rank lasts from its offer to its acceptance, any other for its transfer; why
/// it started no earlier is known to the receiver's record.
Timeline measured_timeline(const Program& program, const std::vector<RankRecord>& records,
                           const std::vector<std::string>& names, Nanos zero);

}  // namespace bubblescope
