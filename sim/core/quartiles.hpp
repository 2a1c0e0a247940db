// Quartiles of measured times.
#pragma once

#include <cstdint>
#include <span>
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

/// A value, and how many samples it stands for.
struct Weighted {
  double value = 0;
  double weight = 1;
};

/// The weighted mean of `values`, where those farther than three interquartile ranges beyond the quartiles (Tukey's
/// outer fences) count as if they lay there: a sum's expectation is that of the means, not of the medians, but one
/// freeze of the machine must not be all there is to a mean. 0 where there are none.
double fenced_mean(std::span<const Weighted> values);

struct Fractions {
  double first = 0, median = 0, third = 0;
};

/// Likewise, of numbers that are no times. Zeros where there are none.
Fractions fraction_quartiles(std::vector<double> values);

}  // namespace bubblescope
