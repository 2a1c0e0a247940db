// Quartiles of measured times.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/core/time.hpp"

namespace bubblescope {

/// Where the middle of a sample lies.
struct Quartiles {
  Nanos first = 0;
  Nanos median = 0;
  Nanos third = 0;
  std::int64_t count = 0;

  Nanos spread() const { return (third - first) / 2; }  ///< half the interquartile range
  friend bool operator==(const Quartiles&, const Quartiles&) = default;
};

/// Quartiles of `values` (in any order); values between two samples are interpolated linearly.
Quartiles quartiles(std::vector<Nanos> values);

struct Fractions {
  double first = 0, median = 0, third = 0;
};

/// As `quartiles`, of numbers that are no times. Zeros where there are none.
Fractions fraction_quartiles(std::vector<double> values);

struct FencedMean {
  double value = 0;
  double error = 0;  ///< its standard error: s / sqrt(n), from the values as they count; 0 for fewer than two
};

/// The mean of `values`, where those far off count as if they lay on a fence: three interquartile ranges beyond the
/// quartiles (Tukey's outer fences), but at least half a median. Times add up as means do, not as medians; yet one freeze
/// of the machine must not be all there is to a mean. Of fewer than five, which have no such fences, the median. Zeros where
/// there are none.
FencedMean fenced_mean(const std::vector<double>& values);

}  // namespace bubblescope
