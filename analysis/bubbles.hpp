// Bubbles: busy time, spans and the four bubble definitions in use, from any Timeline.
#pragma once

#include <vector>

#include "sim/core/timeline.hpp"

namespace bubblescope {

/// One rank's times, in nanoseconds. Work that overlaps on one rank counts once.
struct RankTimes {
  Nanos busy = 0;        ///< of all iterations
  Nanos span = 0;        ///< first compute start to last compute end of the first iteration
  Nanos span_busy = 0;   ///< busy inside that span
  Nanos first_busy = 0;  ///< busy with ops of the first iteration
};

/// Only compute ops are busy: sends, receives, barriers and copies are not.
struct Bubbles {
  Nanos makespan = 0;  ///< all iterations: latest end of any span
  Nanos span = 0;      ///< the largest rank span (first iteration): the period without a barrier
  Nanos period = 0;    ///< time per iteration: from the end of the first to the end of the last, over
                       ///< the iterations between; with one iteration, the largest rank span
  std::vector<RankTimes> ranks;

  double idle_fraction = 0;  ///< 1 - busy / (ranks * makespan)
  double overhead = 0;       ///< (makespan - max busy) / max busy
  double span_rate = 0;      ///< 1 - max busy / max span, both of the first iteration
  double internal = 0;       ///< idle inside the ranks' spans / sum of the spans, first iteration
};

/// Throws InputError where the Timeline is inconsistent. A Timeline without work has all zeros, and
/// an idle fraction of 1 where it takes time.
Bubbles bubbles(const Timeline& timeline);

}  // namespace bubblescope
