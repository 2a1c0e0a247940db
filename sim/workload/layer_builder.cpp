// Layer builder and the blocks that models and auxiliary networks share; see layer_builder.hpp.
#include "sim/workload/layer_builder.hpp"

#include <utility>

namespace bubblescope {

LayerBuilder::LayerBuilder(std::string name, Shape input) {
  layer_.name = std::move(name);
  layer_.input = std::move(input);
}

const Shape& LayerBuilder::shape(Value value) const {
  return value == 0 ? layer_.input : layer_.primitives[static_cast<std::size_t>(value - 1)].output;
}

Primitive& LayerBuilder::append(PrimitiveKind kind, Value x, Shape output) {
  Primitive primitive;
  primitive.kind = kind;
  primitive.inputs = {x, -1};
  primitive.input = shape(x);
  primitive.output = std::move(output);
  return layer_.primitives.emplace_back(std::move(primitive));
}

LayerBuilder::Value LayerBuilder::conv(Value x, std::string name, std::int64_t channels, std::int64_t kernel,
                                       std::int64_t stride, std::int64_t padding, Init init, bool bias) {
  const Shape& in = shape(x);
  const auto side = [&](std::int64_t size) { return (size + 2 * padding - kernel) / stride + 1; };
  Primitive& p = append(PrimitiveKind::conv, x, {channels, side(in[1]), side(in[2])});
  p.name = std::move(name);
  p.kernel = kernel;
  p.stride = stride;
  p.padding = padding;
  p.bias = bias;
  p.init = init;
  return last();
}

LayerBuilder::Value LayerBuilder::batch_norm(Value x, std::string name) {
  append(PrimitiveKind::batch_norm, x, shape(x)).name = std::move(name);
  return last();
}

LayerBuilder::Value LayerBuilder::layer_norm(Value x, std::string name) {
  append(PrimitiveKind::layer_norm, x, shape(x)).name = std::move(name);
  return last();
}

LayerBuilder::Value LayerBuilder::relu(Value x) {
  append(PrimitiveKind::relu, x, shape(x));
  return last();
}

LayerBuilder::Value LayerBuilder::gelu(Value x) {
  append(PrimitiveKind::gelu, x, shape(x));
  return last();
}

LayerBuilder::Value LayerBuilder::sigmoid(Value x) {
  append(PrimitiveKind::sigmoid, x, shape(x));
  return last();
}

LayerBuilder::Value LayerBuilder::linear(Value x, std::string name, std::int64_t features, Init init, bool bias) {
  Shape output = shape(x);
  output.back() = features;
  Primitive& p = append(PrimitiveKind::linear, x, std::move(output));
  p.name = std::move(name);
  p.bias = bias;
  p.init = init;
  return last();
}

LayerBuilder::Value LayerBuilder::attention(Value x, std::int64_t heads) {
  const Shape in = shape(x);
  append(PrimitiveKind::attention, x, {in[0], in[1] / 3}).heads = heads;
  return last();
}

LayerBuilder::Value LayerBuilder::average_pool(Value x, std::int64_t height, std::int64_t width) {
  append(PrimitiveKind::average_pool, x, {shape(x)[0], height, width});
  return last();
}

LayerBuilder::Value LayerBuilder::upsample(Value x, std::int64_t height, std::int64_t width) {
  append(PrimitiveKind::upsample, x, {shape(x)[0], height, width});
  return last();
}

LayerBuilder::Value LayerBuilder::flatten(Value x) {
  append(PrimitiveKind::flatten, x, {elements(shape(x))});
  return last();
}

LayerBuilder::Value LayerBuilder::tokens(Value x) {
  const Shape in = shape(x);
  append(PrimitiveKind::tokens, x, {in[1] * in[2], in[0]});
  return last();
}

LayerBuilder::Value LayerBuilder::embed(Value x, std::string name) {
  const Shape in = shape(x);
  Primitive& p = append(PrimitiveKind::embed, x, {in[0] + 1, in[1]});
  p.name = std::move(name);
  p.init = Init::truncated_normal;
  return last();
}

LayerBuilder::Value LayerBuilder::select_token(Value x) {
  append(PrimitiveKind::select_token, x, {shape(x)[1]});
  return last();
}

LayerBuilder::Value LayerBuilder::dropout(Value x, double probability) {
  if (probability == 0) return x;
  append(PrimitiveKind::dropout, x, shape(x)).probability = probability;
  return last();
}

LayerBuilder::Value LayerBuilder::add(Value x, Value y) {
  append(PrimitiveKind::add, x, shape(x)).inputs = {x, y};
  return last();
}

Layer LayerBuilder::finish() {
  layer_.output = shape(last());
  return std::move(layer_);
}

Layer basic_block(std::string name, const Shape& input, std::int64_t channels, std::int64_t stride) {
  LayerBuilder b(std::move(name), input);
  auto x = b.conv(0, "conv1", channels, 3, stride, 1);
  x = b.relu(b.batch_norm(x, "bn1"));
  x = b.batch_norm(b.conv(x, "conv2", channels, 3, 1, 1), "bn2");
  LayerBuilder::Value shortcut = 0;
  if (stride != 1 || channels != input[0]) {
    shortcut = b.batch_norm(b.conv(0, "shortcut", channels, 1, stride, 0), "shortcut_bn");
  }
  b.relu(b.add(x, shortcut));
  return b.finish();
}

Layer transformer_block(std::string name, const Shape& input, std::int64_t heads, double dropout) {
  const std::int64_t width = input[1];
  LayerBuilder b(std::move(name), input);
  auto x = b.linear(b.layer_norm(0, "norm1"), "qkv", 3 * width, Init::truncated_normal);
  x = b.linear(b.attention(x, heads), "projection", width, Init::truncated_normal);
  const auto middle = b.add(0, b.dropout(x, dropout));
  x = b.gelu(b.linear(b.layer_norm(middle, "norm2"), "mlp1", 4 * width, Init::truncated_normal));
  x = b.dropout(b.linear(b.dropout(x, dropout), "mlp2", width, Init::truncated_normal), dropout);
  b.add(middle, x);
  return b.finish();
}

Layer token_head(std::string name, const Shape& input, std::int64_t classes) {
  LayerBuilder b(std::move(name), input);
  b.linear(b.select_token(b.layer_norm(0, "norm")), "linear", classes, Init::truncated_normal);
  return b.finish();
}

}  // namespace bubblescope
