// Optimizers: one per stage over that stage's own parameters.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "backend/torch/config.hpp"
#include "backend/torch/modules.hpp"

namespace bubblescope {

/// What becomes of gradients that have been used.
enum class Used : std::uint8_t {
  dropped,  ///< the next backward makes new ones
  zeroed,   ///< they stay where they are, for work that was recorded with their addresses
};

/// SGD (momentum, Nesterov, L2 weight decay) or AdamW over an explicit list of parameters, by LibTorch's fused
/// kernels: a few launches for all parameters together. The host never waits for the device.
class StageOptimizer {
 public:
  /// Throws InputError on an unknown name and on Nesterov without momentum.
  StageOptimizer(const OptimizerConfig& config, std::vector<NamedTensor> parameters);

  /// One update with learning rate `rate`. A parameter without a gradient is left alone.
  void step(double rate, Used gradients = Used::dropped);

  /// Sum of the squares of all gradients, of each in double: a float64 scalar on the parameters' device.
  torch::Tensor squared_norm() const;
  /// Scales the gradients so that a global norm whose square is `squared_norm` becomes at most `limit`, as
  /// torch.nn.utils.clip_grad_norm_ does: factor min(1, limit / (norm + 1e-6)).
  void clip(const torch::Tensor& squared_norm, double limit);

  /// State tensors by name: `NAME.momentum_buffer`, or `NAME.step`, `NAME.exp_avg`,
  /// `NAME.exp_avg_sq`; empty before the first step.
  std::map<std::string, torch::Tensor> state() const;
  /// The inverse. Throws InputError naming a tensor that is missing or has another shape.
  void load(const std::map<std::string, torch::Tensor>& state);

  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  std::int64_t state_bytes() const;

 private:
  /// What is kept of one parameter; undefined before its first update.
  struct State {
    torch::Tensor momentum;         ///< sgd, with a momentum
    torch::Tensor mean, square;     ///< adamw: running means of gradient and squared gradient
    torch::Tensor steps;            ///< adamw: updates so far, float32 as the kernels want it
  };
  void sgd(const std::vector<std::size_t>& chosen, bool first, double rate);
  void adamw(const std::vector<std::size_t>& chosen, double rate);
  std::vector<torch::Tensor> gradients() const;

  OptimizerConfig config_;
  std::vector<NamedTensor> parameters_;
  std::vector<State> state_;  ///< by parameter
};

}  // namespace bubblescope
