// Optimizers: one per stage over that stage's own parameters.
#pragma once

#include <torch/torch.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/torch/config.hpp"
#include "backend/torch/modules.hpp"

namespace bubblescope {

/// LibTorch's SGD (momentum, Nesterov, L2 weight decay) or AdamW over an explicit list of parameters.
class StageOptimizer {
 public:
  /// Throws InputError on an unknown name and on Nesterov without momentum.
  StageOptimizer(const OptimizerConfig& config, std::vector<NamedTensor> parameters);

  /// One update with learning rate `rate`, then the gradients are dropped. A parameter without a
  /// gradient is left alone.
  void step(double rate);

  /// Sum of the squares of all gradients, added up in double by parameter order.
  double squared_norm() const;
  /// Scales the gradients so that a global norm of `norm` becomes at most `limit`, as
  /// torch.nn.utils.clip_grad_norm_ does: factor min(1, limit / (norm + 1e-6)).
  void clip(double norm, double limit);

  /// State tensors by name: `NAME.momentum_buffer`, or `NAME.step`, `NAME.exp_avg`,
  /// `NAME.exp_avg_sq`; empty before the first step.
  std::map<std::string, torch::Tensor> state() const;
  /// The inverse. Throws InputError naming a tensor that is missing or has another shape.
  void load(const std::map<std::string, torch::Tensor>& state);

  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  std::int64_t state_bytes() const;

 private:
  OptimizerConfig config_;
  std::vector<NamedTensor> parameters_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;  ///< null where there are no parameters
};

}  // namespace bubblescope
