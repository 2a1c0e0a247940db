// What it costs that one rank waits for another: the hand-over of a message and a barrier.
#pragma once

#include "backend/executor.hpp"
#include "sim/core/profile.hpp"

namespace bubblescope {

struct WaitCosts {
  Quartiles handover;  ///< from the offer of a message to the start of the op that waited for it
  Quartiles sync;      ///< from the arrival of the last rank at a barrier until all go on
};

/// Measures both `count` times between the threads of `ranks`, through the executor's own channels and
/// meetings. The waiting side is asleep each time, as it is in a run whose ops take milliseconds. With
/// one rank there is no hand-over (count 0).
WaitCosts measure_waits(Ranks& ranks, std::int32_t count);
/// The first of them alone, between the first two ranks of the first process where there are several.
Quartiles measure_handover(Ranks& ranks, std::int32_t count);

}  // namespace bubblescope
