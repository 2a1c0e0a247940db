// Several rounds of calibration become one.
#pragma once

#include <span>

#include "backend/calibrate.hpp"
#include "sim/core/profile.hpp"

namespace bubblescope {

/// What sending costs besides the ops, medians over rounds.
struct Network {
  Nanos handover = 0;
  Nanos sync = 0;
};

/// `measurement` with the ops of all rounds: the median over rounds, quartile by quartile, so that a
/// round on a slow machine counts once.
Measurement pool_ops(Measurement measurement, std::span<const Calibration> rounds);
Network pool_network(std::span<const Calibration> rounds);

}  // namespace bubblescope
