// Optimizers: one per stage, LibTorch's own.
#include "backend/torch/optimizer.hpp"

#include <fmt/format.h>

#include "sim/core/error.hpp"

namespace bubblescope {

namespace {

std::unique_ptr<torch::optim::Optimizer> make(const OptimizerConfig& config, const std::vector<NamedTensor>& named) {
  std::vector<torch::Tensor> parameters;
  for (const NamedTensor& parameter : named) parameters.push_back(parameter.tensor);
  if (config.name == "sgd") {
    if (config.nesterov && config.momentum <= 0) throw InputError("Nesterov's method needs a momentum above 0");
    auto options = torch::optim::SGDOptions(0).momentum(config.momentum).weight_decay(config.weight_decay);
    options.nesterov(config.nesterov);
    if (parameters.empty()) return nullptr;
    return std::make_unique<torch::optim::SGD>(parameters, options);
  }
  if (config.name == "adamw") {
    auto options = torch::optim::AdamWOptions(0).betas({config.beta1, config.beta2}).eps(config.epsilon);
    options.weight_decay(config.weight_decay);
    if (parameters.empty()) return nullptr;
    return std::make_unique<torch::optim::AdamW>(parameters, options);
  }
  throw InputError(fmt::format("unknown optimizer '{}'; expected sgd or adamw{}", config.name,
                               suggestion(config.name, {"sgd", "adamw"})));
}

const torch::Tensor& find(const std::map<std::string, torch::Tensor>& state, const std::string& name,
                          const torch::Tensor& like) {
  const auto found = state.find(name);
  if (found == state.end()) throw InputError(fmt::format("optimizer state '{}' is missing", name));
  if (found->second.sizes() != like.sizes() || found->second.scalar_type() != like.scalar_type()) {
    throw InputError(fmt::format("optimizer state '{}' has another shape or precision than its parameter", name));
  }
  return found->second;
}

}  // namespace

StageOptimizer::StageOptimizer(const OptimizerConfig& config, std::vector<NamedTensor> parameters)
    : config_(config), parameters_(std::move(parameters)), optimizer_(make(config_, parameters_)) {}

void StageOptimizer::step(double rate) {
  if (!optimizer_) return;
  optimizer_->param_groups().front().options().set_lr(rate);
  {
    // Backwards under way may read these weights afterwards, older versions or the newest as the schedule says:
    // no change that autograd has to object to.
    const at::AutoDispatchBelowADInplaceOrView unseen;
    optimizer_->step();
  }
  optimizer_->zero_grad(/*set_to_none=*/true);
}

double StageOptimizer::squared_norm() const {
  const torch::NoGradGuard no_grad;
  double sum = 0;
  for (const NamedTensor& parameter : parameters_) {
    const torch::Tensor& gradient = parameter.tensor.grad();
    if (gradient.defined()) sum += gradient.square().sum(torch::kFloat64).item<double>();
  }
  return sum;
}

void StageOptimizer::clip(double norm, double limit) {
  const torch::NoGradGuard no_grad;
  const double factor = limit / (norm + 1e-6);
  if (factor >= 1) return;
  for (const NamedTensor& parameter : parameters_) {
    const torch::Tensor& gradient = parameter.tensor.grad();
    if (gradient.defined()) gradient.mul_(factor);
  }
}

std::map<std::string, torch::Tensor> StageOptimizer::state() const {
  std::map<std::string, torch::Tensor> result;
  if (!optimizer_) return result;
  for (const NamedTensor& parameter : parameters_) {
    const auto found = optimizer_->state().find(parameter.tensor.unsafeGetTensorImpl());
    if (found == optimizer_->state().end()) continue;
    if (config_.name == "sgd") {
      const auto& buffer = static_cast<const torch::optim::SGDParamState&>(*found->second).momentum_buffer();
      if (buffer.defined()) result[parameter.name + ".momentum_buffer"] = buffer;
    } else {
      const auto& adam = static_cast<const torch::optim::AdamWParamState&>(*found->second);
      result[parameter.name + ".step"] = torch::tensor(adam.step(), torch::kInt64);
      result[parameter.name + ".exp_avg"] = adam.exp_avg();
      result[parameter.name + ".exp_avg_sq"] = adam.exp_avg_sq();
    }
  }
  return result;
}

void StageOptimizer::load(const std::map<std::string, torch::Tensor>& state) {
  if (!optimizer_) return;
  const torch::NoGradGuard no_grad;
  optimizer_->state().clear();
  for (const NamedTensor& parameter : parameters_) {
    void* key = parameter.tensor.unsafeGetTensorImpl();
    if (config_.name == "sgd") {
      if (config_.momentum == 0 || !state.contains(parameter.name + ".momentum_buffer")) continue;
      auto sgd = std::make_unique<torch::optim::SGDParamState>();
      sgd->momentum_buffer(torch::empty_like(parameter.tensor).copy_(find(state, parameter.name + ".momentum_buffer", parameter.tensor)));
      optimizer_->state()[key] = std::move(sgd);
    } else {
      if (!state.contains(parameter.name + ".step")) continue;
      auto adam = std::make_unique<torch::optim::AdamWParamState>();
      adam->step(state.at(parameter.name + ".step").item<std::int64_t>());
      adam->exp_avg(torch::empty_like(parameter.tensor).copy_(find(state, parameter.name + ".exp_avg", parameter.tensor)));
      adam->exp_avg_sq(torch::empty_like(parameter.tensor).copy_(find(state, parameter.name + ".exp_avg_sq", parameter.tensor)));
      optimizer_->state()[key] = std::move(adam);
    }
  }
}

std::int64_t StageOptimizer::state_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : state()) bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

}  // namespace bubblescope
