// What real runs are held against: the un-pipelined model and LibTorch's own optimizer kernels; and single ops on
// single devices.
#pragma once

#include <gtest/gtest.h>

#include "tests/backend/torch/small_runs.hpp"

namespace bubblescope::testing_runs {

using Tensors = std::map<std::string, torch::Tensor>;

/// LibTorch's fused kernels over all parameters at once, as torch.optim calls them with `fused=True`.
class PlainOptimizer {
 public:
  PlainOptimizer(const TorchConfig& config, std::vector<torch::Tensor> parameters) : config_(config.optimizer), rate_(config.rate.base), parameters_(std::move(parameters)) {
    const torch::NoGradGuard no_grad;
    for (const torch::Tensor& p : parameters_) {
      first_.push_back(torch::zeros_like(p));
      second_.push_back(torch::zeros_like(p));
      steps_.push_back(torch::zeros({}, torch::kFloat32));
    }
  }
  void zero_grad() {
    for (torch::Tensor& p : parameters_) p.mutable_grad() = torch::Tensor();
  }
  void step() {
    const torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> gradients;
    for (const torch::Tensor& p : parameters_) gradients.push_back(p.grad());
    ++step_;
    if (config_.name == "adamw") {
      for (torch::Tensor& count : steps_) count.fill_(step_);
      at::_fused_adamw_(parameters_, gradients, first_, second_, {}, steps_, rate_, config_.beta1, config_.beta2, config_.weight_decay, config_.epsilon, false, false);
    } else {
      at::_fused_sgd_(parameters_, gradients, first_, config_.weight_decay, config_.momentum, rate_, 0, config_.nesterov, false, step_ == 1);
    }
  }

 private:
  OptimizerConfig config_;
  double rate_;
  int step_ = 0;
  std::vector<torch::Tensor> parameters_, first_, second_, steps_;
};

inline std::unique_ptr<PlainOptimizer> reference_optimizer(const TorchConfig& config, std::vector<torch::Tensor> parameters) {
  return std::make_unique<PlainOptimizer>(config, std::move(parameters));
}

inline std::vector<torch::Tensor> tensors_of(const std::vector<NamedTensor>& named) {
  std::vector<torch::Tensor> tensors;
  for (const NamedTensor& t : named) tensors.push_back(t.tensor);
  return tensors;
}

/// The un-pipelined model, microbatch by microbatch.
struct Reference {
  LayerGraph graph;
  StageModule model;
  AuxiliaryModule loss;

  explicit Reference(const TorchConfig& config)
      : graph(build_model(config.model)),
        model(graph, 0, graph.size(), {.dtype = torch::kFloat64}),
        loss(output_loss(), 0, {.dtype = torch::kFloat64}) {}

  void accumulate(Batches& batches, std::int64_t iteration) {
    const auto count = batches.plan().microbatches;
    for (std::int64_t m = 0; m < count; ++m) {
      const ForwardContext context{.iteration = iteration, .microbatch = m};
      const Batch batch = batches.batch(iteration, m);
      const torch::Tensor value = loss.loss(model.forward(batch.images, context), batch.labels, {}, context);
      (value / static_cast<double>(count)).backward();
    }
  }
  /// Iterations from the first, clipped by the global norm: the weights after them.
  Tensors train(const TorchConfig& config, Batches& batches, std::int64_t iterations) {
    const auto parameters = tensors_of(model.parameters());
    const auto optimizer = reference_optimizer(config, parameters);
    for (std::int64_t iteration = 0; iteration < iterations; ++iteration) {
      optimizer->zero_grad();
      accumulate(batches, iteration);
      EXPECT_GT(torch::nn::utils::clip_grad_norm_(parameters, config.clip_norm), config.clip_norm);
      optimizer->step();
    }
    Tensors weights;
    for (const NamedTensor& t : model.parameters()) weights[t.name] = t.tensor.detach();
    return weights;
  }
  Tensors gradients() const {
    Tensors all;
    for (const NamedTensor& t : model.parameters()) all[t.name] = t.tensor.grad();
    return all;
  }
};

inline Program without_updates(Program what) {
  for (auto& row : what.rows) std::erase_if(row, [](const Op& op) { return op.kind == Kind::U; });
  return what;
}

inline TorchConfig in_double(TorchConfig config) {
  config.precision = "float64";
  config.batch = 16;
  config.microbatch = 4;
  config.augment = true;
  return config;
}

inline Op op_of(Kind kind, Stage stage, Microbatch microbatch = 0) {
  Op op;
  op.kind = kind;
  op.stage = static_cast<std::int16_t>(stage);
  op.microbatch = microbatch;
  return op;
}

/// Runs `work` on a device of this rank and returns the message of what it throws.
template <typename Error, typename Work>
std::string message_of(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

inline std::unique_ptr<Device> device_of(const TorchConfig& config, const Program& what, Rank rank) {
  return torch_backend(config)->device(rank, what);
}

}  // namespace bubblescope::testing_runs
