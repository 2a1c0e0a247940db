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

/// Likewise, of numbers that are no times. Zeros where there are none.
Fractions fraction_quartiles(std::vector<double> values);

}  // namespace bubblescope
