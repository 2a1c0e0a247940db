// Split backward: convolutions and linear layers whose weight gradients wait for W, while the gradients
// of their inputs are computed in I.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace bubblescope {

/// A convolution or a linear layer as a function of input, weight and bias.
struct WeightedOp {
  bool convolution = false;  ///< 2-d; else linear on the last dimension
  std::int64_t stride = 1;
  std::int64_t padding = 0;
};

/// The weight gradients of one microbatch and stage that are still to be computed: of every layer its
/// input and the gradient of its output. Filled by the backward of `deferred_layer`.
class WeightGradients : public torch::CustomClassHolder {
 public:
  struct Layer {
    WeightedOp op;
    torch::Tensor input;
    torch::Tensor weight;
    torch::Tensor bias;  ///< undefined where there is none
    torch::Tensor used;  ///< the weights as the layer read them: a shorter copy under autocast
    torch::Tensor output_gradient;
  };
  WeightGradients() = default;
  /// A copy shares the tensors.
  WeightGradients(const WeightGradients& other) : layers_(other.layers_) {}
  void add(Layer layer) { layers_.push_back(std::move(layer)); }

  /// Computes them, adds them to the parameters' `grad` as autograd does, and lets go of all it holds.
  void accumulate();

  /// Bytes of the memory that it keeps alive besides the weights themselves, memory that several share once.
  std::int64_t bytes() const;
  /// Whether one of its tensors lies in the memory of this one.
  bool shares_memory_of(const torch::Tensor& tensor) const;

 private:
  std::vector<Layer> layers_;
};

/// The layer's output. Its backward computes the gradient of the input alone (where one is needed) and
/// leaves weight and bias to `gradients`. All kernels are those of at::conv2d and at::linear and
/// of their backwards, so that backward and `accumulate` give what an ordinary backward gives.
torch::Tensor deferred_layer(const WeightedOp& op, const torch::Tensor& input, const torch::Tensor& weight,
                             const torch::Tensor& bias, const c10::intrusive_ptr<WeightGradients>& gradients);

}  // namespace bubblescope
