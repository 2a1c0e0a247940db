// Calibration: how long every (stage, kind) of a Program takes on this machine, alone and with the other
// ranks at work, whatever the backend.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "backend/executor.hpp"
#include "sim/core/profile.hpp"

namespace bubblescope {

struct CalibrateOptions {
  std::int32_t rounds = 5;   ///< of alone and busy, in turns, so that the machine's drift hits both
  /// More rounds follow until the means are known that well, or for so long: the standard error of the mean
  /// (fenced_mean), relative to it, of every op that takes a hundredth of an average rank's time or more. 0: no more
  /// rounds. Samples are walks of the row, each with the mean of its ops of the kind, as ops of one walk differ with their
  /// place in it. Of fewer than eight it is not known.
  double noise = 0;
  Nanos longest = 15 * kSecond;  ///< for all rounds, where `noise` asks for more; and on streams for messages
  std::int32_t walks = 1;    ///< of a rank's row per round
  std::int32_t waits = 200;  ///< hand-overs and barriers measured
  std::vector<std::vector<int>> cores;  ///< rank -> cores its thread is pinned to, as given to Ranks
  const std::atomic<bool>* stop = nullptr;  ///< set: end soon, with what was measured by then
  std::function<void(std::int32_t round)> progress;  ///< called after each round
};

struct Calibration {
  std::vector<MeasuredOp> ops;  ///< by stage, then kind; only what occurs in the Program
  Quartiles handover;           ///< of a (small) message between two ranks of a process, with what the receiver takes to notice
  MessageTimes messages;        ///< on streams (one way alone), and between processes: on two hosts, where there are several
  MessageTimes beside;          ///< between two processes of one host, where there are several hosts
  Quartiles sync;               ///< of a barrier, after the last rank has come
  bool stopped = false;         ///< not everything was measured as often as asked for
};

/// Measures `program`, with or without sends and receives: every rank walks its own row with example
/// inputs in place of what it would receive. Alone: one rank after another, the rest parked. Busy: as
/// many ranks at once as have cores of their own, in rotating groups; only walks that nearly all the time had the whole group
/// at work count. Meanwhile what ranks send to other processes goes there, as far as the link takes it, and nobody waits for
/// it. The first walks, alone and together, are not counted. What an op takes includes the
/// hand-over of its input to the device; SYNC is what the device does for its contribution and the sum,
/// ALLREDUCE likewise, as if the other copies contributed the same.
/// The devices train on the examples meanwhile; afterwards their state is what it was before. Over processes all of
/// them do this together, and each gets the same result.
Calibration calibrate(const Program& program, Ranks& ranks, const CalibrateOptions& options);

/// Groups of ranks that can work at once, each on cores of its own; every rank is in at least one.
/// Ranks without cores of their own count as one core each out of `available`.
std::vector<std::vector<Rank>> busy_groups(std::int32_t ranks, const std::vector<std::vector<int>>& cores, std::int32_t available);

}  // namespace bubblescope
