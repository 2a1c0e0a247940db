// Several rounds of calibration become one.
#pragma once

#include <span>
#include <vector>

#include "backend/calibrate.hpp"
#include "sim/core/profile.hpp"

namespace bubblescope {

/// What sending costs besides the ops, medians over rounds.
struct Network {
  Nanos handover = 0;  ///< of a message of no size
  double bandwidth = 0;  ///< bytes/s; 0: infinite
  Nanos sync = 0;
  MessageTimes messages{};
  Nanos inside = 0;  ///< between processes: what the hand-over costs between two ranks of one
  MessageTimes beside{};  ///< between processes of one host, where there are several hosts
};

/// `measurement` with the ops of all rounds: the median over rounds, quartile by quartile and of
/// the means, so that a round on a slow machine counts once.
Measurement pool_ops(Measurement measurement, std::span<const Calibration> rounds);
Network pool_network(std::span<const Calibration> rounds);
/// Of several schedules, whose links are the same ones.
Network pool_networks(std::span<const Network> networks);

}  // namespace bubblescope
