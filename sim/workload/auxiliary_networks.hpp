// The definitions of the single auxiliary networks, apart from their registry (auxiliary.cpp).
#pragma once

#include <cstdint>
#include <string>

#include "sim/workload/auxiliary.hpp"

namespace bubblescope {

/// What the networks are made from.
struct AuxiliaryCut {
  const AuxiliarySpec& spec;
  const LayerGraph& model;
  std::int32_t layer;  ///< the last one of the stage
  std::int32_t stage;
  std::int32_t stages;

  const Shape& features() const { return model.layers[static_cast<std::size_t>(layer)].output; }
  /// 0 at the first local module, 1 at the last; 0 where there is only one.
  double depth_ratio() const { return stages > 2 ? static_cast<double>(stage) / (stages - 2) : 0.0; }
  double weight(const std::string& name, double otherwise) const {
    const auto found = spec.weights.find(name);
    return found == spec.weights.end() ? otherwise : found->second;
  }
};

AuxiliaryNetwork greedy_network(const AuxiliaryCut& cut);

struct DglShape {
  int convs;         ///< 1x1 convolutions between the two poolings
  int hidden;        ///< hidden linear layers
  bool hidden_bias;
  bool limit_pool;   ///< the second pooling never goes above the first one's size
};
/// Pool to a quarter, 1x1 convolutions, pool to 2x2, hidden layers with batch norm, linear.
AuxiliaryNetwork dgl_network(const AuxiliaryCut& cut, const DglShape& shape);
/// Two 3x3 convolutions at full resolution, pool to 2x2, batch norm, linear.
AuxiliaryNetwork dgl_cnn_network(const AuxiliaryCut& cut);
/// DGL as the authors of MAN++ write it: fixed widths of 128 channels and 512 features.
AuxiliaryNetwork dgl_man_network(const AuxiliaryCut& cut);

/// `convs` convolutions with batch norm, pooling, two linear layers; beside it the decoder.
AuxiliaryNetwork infopro_network(const AuxiliaryCut& cut, int convs, LossKind task);
/// Pooling until at most 1024 features are left, linear; beside it a convolution whose output's
/// similarities are compared with the labels'.
AuxiliaryNetwork predsim_network(const AuxiliaryCut& cut);

/// Copies of `blocks` evenly spaced later blocks of the model, fewer towards the output.
AuxiliaryNetwork auglocal_network(const AuxiliaryCut& cut);
/// One block for every later group of the model's layers, and its head.
AuxiliaryNetwork glcan_network(const AuxiliaryCut& cut);

}  // namespace bubblescope
