// Shapes for tests over all schedules of the registry.
#pragma once

#include <utility>

#include "sim/core/error.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {

/// The schedule of that shape or, where it cannot have it, of the nearest larger one.
inline Program generate_fitting(const Schedule& schedule, const ScheduleShape& least) {
  for (std::int32_t ranks = least.ranks;; ++ranks) {
    for (std::int32_t m = least.microbatches; m <= least.microbatches + 2 * ranks + 1; ++m) {
      ScheduleShape shape = least;
      shape.ranks = ranks;
      shape.microbatches = m;
      try {
        return generate(schedule, std::move(shape));
      } catch (const ShapeError&) {
      }
    }
  }
}

}  // namespace bubblescope
