// Streams: pipelines that are filled once and never drained. Every stage runs a forward and, some steps later,
// the backward of that microbatch; iterations follow each other without a gap.
#pragma once

#include "sim/schedules/generators.hpp"

namespace bubblescope {

/// What a rank does in step i: F(i - shift), B(i - shift - lead), each where that microbatch exists.
struct StreamRule {
  std::int32_t lead_per_rank = 1;  ///< lead of rank r: that many times p-1-r
  bool replay = false;             ///< R right before B
  bool update_each = true;         ///< U after every B; else one after the iteration's last B
  bool barrier = false;            ///< every step ends with a barrier of all ranks, and rank r begins at step r
};

/// The rows of one iteration from the first forward to the last update, and how far they overlap the next
/// iteration. Throws ShapeError where an iteration has fewer microbatches than its pipeline has steps.
Program stream_program(const std::string& name, const ScheduleShape& shape, const StreamRule& rule);

}  // namespace bubblescope
