// LibTorch modules made from the layer graph: what a rank's device runs for its stages.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/torch/layers.hpp"
#include "sim/workload/auxiliary.hpp"
#include "sim/workload/layer_graph.hpp"

namespace bubblescope {

struct ModuleOptions {
  torch::Dtype dtype = torch::kFloat32;  ///< or kFloat64
  torch::Device device = torch::kCPU;
  std::uint64_t seed = 0;  ///< initial weights: drawn in float64 on the CPU per layer, then converted
  bool autocast = false;   ///< forwards run in bfloat16 where that is safe (autocast.hpp)
};

/// What one forward pass depends on besides weights and input. All randomness comes from a generator
/// keyed by (seed, layer, iteration, microbatch), so it is the same wherever the model is cut and in
/// whatever order microbatches run.
struct ForwardContext {
  bool training = true;            ///< false: no dropout, running statistics instead of the batch's
  bool update_statistics = true;   ///< false in a recompute: batch norm leaves its statistics alone
  std::uint64_t seed = 0;
  std::int64_t iteration = 0;
  std::int64_t microbatch = 0;
  /// Where backward leaves the weight gradients of convolutions and linear layers; null: it computes them.
  c10::intrusive_ptr<WeightGradients> deferred{};
};

/// A parameter or buffer by its full name, `layer1.2.conv1.weight`.
struct NamedTensor {
  std::string name;
  torch::Tensor tensor;
};

/// Bytes of the elements; 0 where the tensor is undefined.
inline std::int64_t bytes_of(const torch::Tensor& tensor) {
  return tensor.defined() ? static_cast<std::int64_t>(tensor.nbytes()) : 0;
}

/// Layers [first, last) of a graph with their weights. Parameters are leaves that require gradients.
/// The initial weights of a layer depend on (seed, its index in the graph) alone: however a model is
/// cut, it starts from the same weights. Not thread-safe: one rank's thread owns it.
class StageModule {
 public:
  /// Throws InputError where [first, last) is no part of the graph.
  StageModule(const LayerGraph& graph, std::int32_t first, std::int32_t last, const ModuleOptions& options);

  /// [batch, first layer's input] -> [batch, last layer's output]. Neither is changed in place. With autocast
  /// the output has the type that its last layer computes in.
  torch::Tensor forward(const torch::Tensor& input, const ForwardContext& context);

  /// In layer order, within a layer in primitive order.
  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  const std::vector<NamedTensor>& buffers() const { return buffers_; }

 private:
  friend class AuxiliaryModule;
  /// Any layers, possibly none; `stream` keeps the randomness of models and auxiliary networks apart.
  StageModule(std::span<const Layer> layers, std::int32_t first, bool frozen_batchnorm, const ModuleOptions& options,
              std::uint64_t stream, const std::string& prefix);

  std::vector<Layer> layers_;
  std::vector<std::vector<PrimitiveTensors>> tensors_;  ///< by layer and primitive
  std::vector<NamedTensor> parameters_;
  std::vector<NamedTensor> buffers_;
  std::uint64_t stream_ = 0;
  std::int32_t first_ = 0;
  bool frozen_batchnorm_ = false;
  std::optional<torch::DeviceType> autocast_;
};

/// The local loss of one stage. For the last stage (`output_loss()`): cross-entropy on the logits.
/// Initial weights depend on (seed, stage).
class AuxiliaryModule {
 public:
  AuxiliaryModule(const AuxiliaryNetwork& network, std::int32_t stage, const ModuleOptions& options);

  /// Scalar: weighted sum of the branches' losses, each a mean over the batch. `features` is the
  /// stage's output, `labels` int64 [batch]; `images` (un-normalised, in [0, 1], [batch, c, h, w]) is
  /// read only where `needs_images()`, and may be undefined otherwise.
  torch::Tensor loss(const torch::Tensor& features, const torch::Tensor& labels, const torch::Tensor& images,
                     const ForwardContext& context);

  /// Class scores of the first cross-entropy branch, for evaluation. Undefined tensor where there is
  /// none (`has_logits()`).
  torch::Tensor logits(const torch::Tensor& features, const ForwardContext& context);
  bool has_logits() const;
  bool needs_images() const;

  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  const std::vector<NamedTensor>& buffers() const { return buffers_; }

 private:
  struct Head {
    LossKind loss;
    double weight;
    std::int64_t classes;
    StageModule module;
  };
  std::vector<Head> heads_;
  std::vector<NamedTensor> parameters_;
  std::vector<NamedTensor> buffers_;
  torch::Dtype dtype_ = torch::kFloat32;  ///< of losses
};

}  // namespace bubblescope
