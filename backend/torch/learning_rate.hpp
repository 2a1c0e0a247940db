// Learning rate over the steps of a training run.
#pragma once

#include <cstdint>
#include <string>

namespace bubblescope {

/// Linear warm-up over `warmup` steps, then constant or half a cosine down to zero at `total`.
struct LearningRate {
  std::string schedule = "constant";  ///< constant, cosine
  double base = 0.1;
  std::int64_t warmup = 0;  ///< steps
  std::int64_t total = 0;   ///< steps of the whole run; only the cosine needs it

  /// Rate of step `step`, counted from 0:
  ///   step < warmup: base (step + 1) / warmup
  ///   cosine:        base (1 + cos(pi (step - warmup) / (total - warmup))) / 2, 0 from `total` on
  double at(std::int64_t step) const;
};

}  // namespace bubblescope
