// How another process's clock runs beside process 0's: offset and drift, from readings over a network.
#pragma once

#include <span>

#include "sim/core/time.hpp"

namespace bubblescope {

/// One comparison: when process 0's clock read `common` (the middle of question and answer) the other one read
/// `common - offset`. The truth lies within `error` (half of the way there and back).
struct ClockSample {
  Nanos common = 0;
  Nanos offset = 0;
  Nanos error = 0;
};

/// common = own + offset + drift * (own - origin).
struct ClockFit {
  Nanos origin = 0;   ///< of the other process's clock
  double offset = 0;  ///< ns, at `origin`
  double drift = 0;   ///< ns per ns
  Nanos error = 0;    ///< how far off it may be within the samples, at most, where the clocks drift evenly

  /// The other process's steady clock to process 0's, both in ns.
  Nanos to_common(Nanos own) const;
};

/// The line through the best samples: those of every twentieth of the time that took the shortest way. No drift is
/// taken from samples that lie within 50 ms, or where it is smaller than what the samples leave open. `error`: what those
/// samples leave open at both ends of the time, by their distance from the line and their own errors. None: all zero.
ClockFit fit_clock(std::span<const ClockSample> samples);

}  // namespace bubblescope
