// Learning rate over the steps of a training run.
#include "backend/torch/learning_rate.hpp"

#include <cmath>
#include <numbers>

namespace bubblescope {

double LearningRate::at(std::int64_t step) const {
  if (step < warmup) return base * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (schedule != "cosine") return base;
  if (step >= total) return 0;
  const double part = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
  return base * (1 + std::cos(std::numbers::pi * part)) / 2;
}

}  // namespace bubblescope
