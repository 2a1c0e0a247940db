// Leaving out the warm-up.
#pragma once

#include "sim/core/timeline.hpp"

namespace bubblescope {

/// The iterations from `first` on, with time zero at their first compute op. Both predicted and
/// measured timelines are cut this way, so that they show the same iterations in the same state.
Timeline cut_iterations(const Timeline& timeline, std::int32_t first);

}  // namespace bubblescope
