// Builds one layer of a layer graph from primitives; shapes follow from the inputs.
#pragma once

#include <cstdint>
#include <string>

#include "sim/workload/layer_graph.hpp"

namespace bubblescope {

/// Appends primitives to a layer. A value number names the layer's input (0) or what an earlier call
/// returned. Shapes are the caller's responsibility: they are checked where users choose them, in
/// `build_model` and `build_auxiliary`.
class LayerBuilder {
 public:
  using Value = std::int32_t;

  LayerBuilder(std::string name, Shape input);

  const Shape& shape(Value value) const;
  /// The newest value.
  Value last() const { return static_cast<Value>(layer_.primitives.size()); }

  Value conv(Value x, std::string name, std::int64_t channels, std::int64_t kernel, std::int64_t stride,
             std::int64_t padding, Init init = Init::fan_out_normal, bool bias = false);
  Value batch_norm(Value x, std::string name);
  Value layer_norm(Value x, std::string name);
  Value relu(Value x);
  Value gelu(Value x);
  Value sigmoid(Value x);
  Value linear(Value x, std::string name, std::int64_t features, Init init = Init::fan_in_uniform,
               bool bias = true);
  Value attention(Value x, std::int64_t heads);
  Value average_pool(Value x, std::int64_t height, std::int64_t width);
  Value upsample(Value x, std::int64_t height, std::int64_t width);
  Value flatten(Value x);
  Value tokens(Value x);
  Value embed(Value x, std::string name);
  Value select_token(Value x);
  /// Nothing is added where `probability` is 0.
  Value dropout(Value x, double probability);
  Value add(Value x, Value y);

  /// The finished layer; its output is the newest value.
  Layer finish();

 private:
  Primitive& append(PrimitiveKind kind, Value x, Shape output);
  Layer layer_;
};

/// A residual block of two 3x3 convolutions; where stride or width change the shortcut is a 1x1
/// convolution with batch norm.
Layer basic_block(std::string name, const Shape& input, std::int64_t channels, std::int64_t stride);

/// A pre-norm Transformer block with an MLP of four times the width.
Layer transformer_block(std::string name, const Shape& input, std::int64_t heads, double dropout);

/// Final norm, class token, linear: the head of a ViT.
Layer token_head(std::string name, const Shape& input, std::int64_t classes);

}  // namespace bubblescope
