// What layers cost: multiply-adds, memory traffic and kernel launches of every primitive, forward and
// backward, and what a forward keeps for its backward. Device-independent.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/workload/auxiliary.hpp"
#include "sim/workload/layer_graph.hpp"

namespace bubblescope {

/// Multiply-adds of the forward pass of one sample: convolutions, linear layers, and the two matrix
/// products of attention. Everything else counts 0, as is usual in published tables.
std::int64_t forward_macs(const Primitive& primitive);
std::int64_t forward_macs(std::span<const Layer> layers);
std::int64_t forward_macs(const AuxiliaryNetwork& network);

/// The work of one primitive in one pass over a microbatch.
struct Work {
  double flops = 0;
  double elements = 0;  ///< read and written, each pass over a tensor counted
  std::int32_t launches = 0;
};

/// Work of a chain of layers by pass, one entry per primitive that does any. A multiply-add is two
/// operations.
struct PassWork {
  std::vector<Work> forward;
  std::vector<Work> input;   ///< backward but for `weight`: gradients of inputs, all of a norm's or embedding's
  std::vector<Work> weight;  ///< weight gradients of convolutions and linear layers: what W computes
};

/// `input_gradient`: whether the gradient of the first layer's input is wanted. Where it is not,
/// primitives whose input depends on no trained tensor compute no input gradient.
PassWork layer_work(std::span<const Layer> layers, std::int64_t batch, bool input_gradient, bool frozen_batchnorm);

/// Forward (in `forward`) and backward (in `input`) of a loss on an output of `shape`: its elements are the
/// classes of a cross entropy, the features of a contrastive loss, the pixels of a reconstruction.
PassWork loss_work(LossKind loss, const Shape& shape, std::int64_t batch);

/// Which values of a chain of layers stay in memory between forward and backward: what autograd saves.
/// Views share their base's memory and count once. Layers are added in order; several branches may
/// start from one value.
class KeptValues {
 public:
  using Value = std::int64_t;

  KeptValues();
  /// The chain's input.
  Value input() const { return 0; }
  /// Adds layers that start from `from`; returns their output.
  Value add(std::span<const Layer> layers, Value from);
  /// Elements per sample that are kept so far.
  std::int64_t elements() const;
  /// Elements per sample that stay between I and W: inputs of convolutions and linear layers, and the
  /// gradients of their outputs, which I makes.
  std::int64_t elements_until_w() const;

 private:
  void keep(Value value, bool for_weights);
  struct Entry {
    Value base = 0;  ///< the value whose memory it is
    std::int64_t elements = 0;
    bool kept = false;
    bool for_weights = false;
  };
  std::vector<Entry> values_;
  std::int64_t extra_ = 0;      ///< masks and statistics
  std::int64_t gradients_ = 0;  ///< of the outputs of convolutions and linear layers
};

/// Elements of a layer's output: what crosses a cut behind it, per sample.
std::int64_t boundary_elements(const Layer& layer);

}  // namespace bubblescope
