// One primitive of the layer graph in LibTorch: its tensors and its forward.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "backend/torch/weight_gradients.hpp"
#include "sim/workload/layer_graph.hpp"

namespace bubblescope {

/// The tensors of one primitive, in the order of `parameter_specs` and `buffer_specs`.
struct PrimitiveTensors {
  std::vector<torch::Tensor> parameters;
  std::vector<torch::Tensor> buffers;
};

/// Fresh tensors, float64 on the CPU, drawn from `generator` as `primitive.init` says. Norms start
/// at weight 1 and bias 0 with running mean 0 and variance 1.
PrimitiveTensors initial_tensors(const Primitive& primitive, at::Generator& generator);

/// How batch norm and dropout behave in one pass.
struct PassMode {
  bool batch_statistics = true;   ///< batch norm normalises by the batch's statistics ...
  bool update_statistics = true;  ///< ... and moves the running ones towards them
  bool dropout = true;
  /// Where the weight gradients of convolutions and linear layers wait; null: backward computes them.
  c10::intrusive_ptr<WeightGradients> deferred{};
};

/// Runs one primitive out of place. `x` and, for `add`, `y` have a leading batch dimension. `masks`
/// draws dropout masks. Throws RunError where batch norm has a single value per channel.
torch::Tensor run_primitive(const Primitive& primitive, const PrimitiveTensors& tensors, const torch::Tensor& x,
                            const torch::Tensor& y, const PassMode& mode, at::Generator& masks);

}  // namespace bubblescope
