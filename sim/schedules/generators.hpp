// What the generators of this folder share: options and endings that several schedules have.
#pragma once

#include "sim/schedules/registry.hpp"

namespace bubblescope {

/// An op of compute order: microbatch `microbatch` (or -1) on `stage`.
constexpr Op make_op(Kind kind, Stage stage, Microbatch microbatch) {
  Op op;
  op.kind = kind;
  op.stage = static_cast<std::int16_t>(stage);
  op.microbatch = microbatch;
  return op;
}

/// Appends 1F1B on one stage: `warm_up` forwards (at most all), then one forward and one backward in turn,
/// then the backwards that are left.
void append_one_f_one_b(std::vector<Op>& row, Stage stage, Microbatch warm_up, Microbatch microbatches);

/// Rounds of microbatches that a rank with several chunks takes through one chunk after the other:
/// max(1, floor(m/p)) of them, the first of which have one more where that does not divide m.
std::vector<Microbatch> round_lengths(std::int32_t ranks, Microbatch microbatches);

/// `clip`: 1 puts a barrier of all ranks before the updates, which is what clipping gradients by
/// their global norm is.
ScheduleOption clip_option();

/// `chunks`: stages per rank.
ScheduleOption chunks_option();

/// `accumulate`: how many microbatches one update takes.
ScheduleOption accumulate_option();
/// Its value. Throws ShapeError where it does not divide the microbatches.
std::int32_t accumulation(const Schedule& schedule, const ScheduleShape& shape);

/// Ends every row of a flushing pipeline: where the schedule's option `clip` is set, one SYNC; then one U
/// per stage of the rank.
void append_flush(Program& program, const ScheduleShape& shape);

}  // namespace bubblescope
