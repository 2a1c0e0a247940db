// Optimizers: one per stage, by LibTorch's fused kernels.
#include "backend/torch/optimizer.hpp"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <fmt/format.h>

#include <utility>

#include "sim/core/error.hpp"

namespace bubblescope {

namespace {

void check(const OptimizerConfig& config) {
  if (config.name == "adamw") return;
  if (config.name != "sgd") {
    throw InputError(fmt::format("unknown optimizer '{}'; expected sgd or adamw{}", config.name,
                                 suggestion(config.name, {"sgd", "adamw"})));
  }
  if (config.nesterov && config.momentum <= 0) throw InputError("Nesterov's method needs a momentum above 0");
}

/// A tensor of its own with what `state` has under that name.
torch::Tensor copy_of(const std::map<std::string, torch::Tensor>& state, const std::string& name, const torch::Tensor& like) {
  const auto found = state.find(name);
  if (found == state.end()) throw InputError(fmt::format("optimizer state '{}' is missing", name));
  if (found->second.sizes() != like.sizes() || found->second.scalar_type() != like.scalar_type()) {
    throw InputError(fmt::format("optimizer state '{}' has another shape or precision than its parameter", name));
  }
  return torch::empty_like(like).copy_(found->second);
}

}  // namespace

StageOptimizer::StageOptimizer(const OptimizerConfig& config, std::vector<NamedTensor> parameters)
    : config_(config), parameters_(std::move(parameters)), state_(parameters_.size()) {
  check(config_);
}

void StageOptimizer::step(double rate, Used used) {
  {
    // Backwards under way may read these weights afterwards, older versions or the newest as the schedule says:
    // no change that autograd has to object to.
    const at::AutoDispatchBelowADInplaceOrView unseen;
    std::vector<std::size_t> fresh, known;  // parameters with a gradient
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (!parameters_[i].tensor.grad().defined()) continue;
      (state_[i].momentum.defined() || state_[i].mean.defined() ? known : fresh).push_back(i);
    }
    for (const std::size_t i : fresh) {
      const torch::Tensor weights = parameters_[i].tensor.detach();
      if (config_.name == "adamw") {
        state_[i] = {{}, torch::zeros_like(weights), torch::zeros_like(weights), torch::zeros({}, weights.options().dtype(torch::kFloat32))};
      } else if (config_.momentum > 0) {
        state_[i].momentum = torch::empty_like(weights);
      }
    }
    if (config_.name == "adamw") {
      known.insert(known.end(), fresh.begin(), fresh.end());
      adamw(known, rate);
    } else {
      sgd(fresh, true, rate);
      sgd(known, false, rate);
    }
  }
  if (used == Used::dropped) {
    for (NamedTensor& parameter : parameters_) parameter.tensor.mutable_grad() = torch::Tensor();
  } else if (const auto kept = gradients(); !kept.empty()) {
    const torch::NoGradGuard no_grad;
    at::_foreach_zero_(kept);
  }
}

void StageOptimizer::sgd(const std::vector<std::size_t>& chosen, bool first, double rate) {
  if (chosen.empty()) return;
  std::vector<torch::Tensor> weights, gradients, momenta;
  for (const std::size_t i : chosen) {
    weights.push_back(parameters_[i].tensor.detach());
    gradients.push_back(parameters_[i].tensor.grad());
    if (config_.momentum > 0) momenta.push_back(state_[i].momentum);
  }
  at::_fused_sgd_(weights, gradients, momenta, config_.weight_decay, config_.momentum, rate, /*dampening=*/0, config_.nesterov, /*maximize=*/false, first);
}

void StageOptimizer::adamw(const std::vector<std::size_t>& chosen, double rate) {
  if (chosen.empty()) return;
  std::vector<torch::Tensor> weights, gradients, means, squares, steps;
  for (const std::size_t i : chosen) {
    weights.push_back(parameters_[i].tensor.detach());
    gradients.push_back(parameters_[i].tensor.grad());
    means.push_back(state_[i].mean);
    squares.push_back(state_[i].square);
    steps.push_back(state_[i].steps);
  }
  at::_foreach_add_(steps, 1);  // the kernel leaves that to its callers
  at::_fused_adamw_(weights, gradients, means, squares, {}, steps, rate, config_.beta1, config_.beta2, config_.weight_decay, config_.epsilon, /*amsgrad=*/false,
                    /*maximize=*/false);
}

std::vector<torch::Tensor> StageOptimizer::gradients() const {
  std::vector<torch::Tensor> found;
  for (const NamedTensor& parameter : parameters_) {
    if (parameter.tensor.grad().defined()) found.push_back(parameter.tensor.grad());
  }
  return found;
}

torch::Tensor StageOptimizer::squared_norm() const {
  const torch::NoGradGuard no_grad;
  const auto found = gradients();
  if (found.empty()) {
    return torch::zeros({}, parameters_.empty() ? torch::TensorOptions(torch::kFloat64) : parameters_.front().tensor.options().dtype(torch::kFloat64).requires_grad(false));
  }
  return torch::stack(at::_foreach_norm(found, 2, torch::kFloat64)).square().sum();
}

void StageOptimizer::clip(const torch::Tensor& squared_norm, double limit) {
  const torch::NoGradGuard no_grad;
  const auto found = gradients();
  if (found.empty()) return;
  const torch::Tensor factor = (limit / (squared_norm.sqrt() + 1e-6)).clamp_max(1);
  at::_foreach_mul_(found, factor.to(found.front().options()));
}

std::map<std::string, torch::Tensor> StageOptimizer::state() const {
  std::map<std::string, torch::Tensor> result;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    if (state_[i].momentum.defined()) result[name + ".momentum_buffer"] = state_[i].momentum;
    if (!state_[i].mean.defined()) continue;
    result[name + ".step"] = state_[i].steps;
    result[name + ".exp_avg"] = state_[i].mean;
    result[name + ".exp_avg_sq"] = state_[i].square;
  }
  return result;
}

void StageOptimizer::load(const std::map<std::string, torch::Tensor>& state) {
  const torch::NoGradGuard no_grad;
  state_.assign(parameters_.size(), {});
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, parameter] = parameters_[i];
    const torch::Tensor like = parameter.detach();
    if (config_.name == "sgd") {
      if (config_.momentum > 0 && state.contains(name + ".momentum_buffer")) state_[i].momentum = copy_of(state, name + ".momentum_buffer", like);
    } else if (const auto steps = state.find(name + ".step"); steps != state.end()) {
      state_[i] = {{}, copy_of(state, name + ".exp_avg", like), copy_of(state, name + ".exp_avg_sq", like), steps->second.to(like.options().dtype(torch::kFloat32), /*non_blocking=*/false, /*copy=*/true)};
    }
  }
}

std::int64_t StageOptimizer::state_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : state()) bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

}  // namespace bubblescope
