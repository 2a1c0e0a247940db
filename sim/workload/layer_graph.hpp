// Layer graph: one representation of models and auxiliary networks. Simulated costs and LibTorch
// modules are both derived from it, so they cannot disagree about shapes or parameters.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bubblescope {

/// Dimensions per sample, the batch left out: {channels, height, width}, {tokens, width}, {features}.
using Shape = std::vector<std::int64_t>;
std::int64_t elements(const Shape& shape);

enum class PrimitiveKind : std::uint8_t {
  conv,           ///< 2-d, square kernel, zero padding
  batch_norm,     ///< over channels of {c, h, w} or features of {f}
  layer_norm,     ///< over the last dimension, eps 1e-6
  relu,
  gelu,           ///< exact (erf)
  sigmoid,
  linear,         ///< on the last dimension
  attention,      ///< multi-head self-attention on {tokens, 3 width} -> {tokens, width}
  average_pool,   ///< adaptive, to the output's height and width
  upsample,       ///< bilinear to the output's height and width, corners aligned
  flatten,
  tokens,         ///< {width, h, w} -> {h w, width}
  embed,          ///< puts a learned class token first and adds learned positions
  select_token,   ///< the class token: {tokens, width} -> {width}
  dropout,
  add,            ///< of two values
};

/// How a weight is drawn; biases start at zero unless said otherwise.
enum class Init : std::uint8_t {
  fan_out_normal,    ///< N(0, sqrt(2 / (k^2 c_out))): convolutions of the CIFAR ResNets
  fan_in_uniform,    ///< U(-1/sqrt(fan in), 1/sqrt(fan in)), the bias, too
  truncated_normal,  ///< N(0, 0.02) cut at two standard deviations: ViT
};

/// One op. Values of a layer are numbered: 0 is the layer's input, i + 1 the output of op i.
struct Primitive {
  PrimitiveKind kind = PrimitiveKind::relu;
  std::string name;             ///< `conv1`: parameters are called layer.name.weight
  std::array<std::int32_t, 2> inputs{0, -1};  ///< value numbers; the second is -1 but for `add`
  Shape input;                  ///< of inputs[0]
  Shape output;
  std::int64_t kernel = 1;      ///< conv
  std::int64_t stride = 1;      ///< conv
  std::int64_t padding = 0;     ///< conv
  std::int64_t heads = 1;       ///< attention
  double probability = 0;       ///< dropout
  bool bias = false;            ///< conv, linear
  Init init = Init::fan_in_uniform;
};

/// What a model can be cut between: one list item, a small graph of primitives with one input and
/// one output (the last primitive's).
struct Layer {
  std::string name;
  Shape input;
  Shape output;
  std::vector<Primitive> primitives;
};

enum class Family : std::uint8_t { resnet, vit, mlp };

/// An ordered list of layers; each layer's output is the next one's input. A graph without layers
/// hands its input on.
struct LayerGraph {
  std::string name;
  Family family = Family::resnet;
  Shape image;                 ///< what the whole model takes
  std::int64_t classes = 0;
  std::int64_t heads = 1;      ///< vit: attention heads of a block
  double dropout = 0;
  bool frozen_batchnorm = false;
  std::vector<Layer> layers;

  std::int32_t size() const { return static_cast<std::int32_t>(layers.size()); }
};

/// One tensor that a primitive owns.
struct TensorSpec {
  std::string name;  ///< `weight`, `bias`, `class_token`, `positions`, `running_mean`, `running_var`
  Shape shape;
};
/// Trained tensors, in the order in which modules, checkpoints and optimizers list them.
std::vector<TensorSpec> parameter_specs(const Primitive& primitive);
/// Tensors that are state but not trained.
std::vector<TensorSpec> buffer_specs(const Primitive& primitive);

std::int64_t parameter_count(const Primitive& primitive);
std::int64_t parameter_count(std::span<const Layer> layers);
std::int64_t buffer_count(std::span<const Layer> layers);

/// Layers [first, last) of a graph. Throws InputError outside the graph or where empty.
std::span<const Layer> layer_range(const LayerGraph& graph, std::int32_t first, std::int32_t last);

}  // namespace bubblescope
