// Shapes, parameters and ranges of layer graphs; see layer_graph.hpp.
#include "sim/workload/layer_graph.hpp"

#include <fmt/format.h>

#include "sim/core/error.hpp"

namespace bubblescope {

std::int64_t elements(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

std::vector<TensorSpec> parameter_specs(const Primitive& p) {
  switch (p.kind) {
    case PrimitiveKind::conv: {
      std::vector<TensorSpec> specs{{"weight", {p.output[0], p.input[0], p.kernel, p.kernel}}};
      if (p.bias) specs.push_back({"bias", {p.output[0]}});
      return specs;
    }
    case PrimitiveKind::linear: {
      std::vector<TensorSpec> specs{{"weight", {p.output.back(), p.input.back()}}};
      if (p.bias) specs.push_back({"bias", {p.output.back()}});
      return specs;
    }
    case PrimitiveKind::batch_norm:
      return {{"weight", {p.input[0]}}, {"bias", {p.input[0]}}};
    case PrimitiveKind::layer_norm:
      return {{"weight", {p.input.back()}}, {"bias", {p.input.back()}}};
    case PrimitiveKind::embed:
      return {{"class_token", {p.output[1]}}, {"positions", p.output}};
    default:
      return {};
  }
}

std::vector<TensorSpec> buffer_specs(const Primitive& p) {
  if (p.kind != PrimitiveKind::batch_norm) return {};
  return {{"running_mean", {p.input[0]}}, {"running_var", {p.input[0]}}};
}

namespace {

std::int64_t total(const std::vector<TensorSpec>& specs) {
  std::int64_t count = 0;
  for (const TensorSpec& spec : specs) count += elements(spec.shape);
  return count;
}

}  // namespace

std::int64_t parameter_count(const Primitive& primitive) { return total(parameter_specs(primitive)); }

std::int64_t parameter_count(std::span<const Layer> layers) {
  std::int64_t count = 0;
  for (const Layer& layer : layers) {
    for (const Primitive& primitive : layer.primitives) count += parameter_count(primitive);
  }
  return count;
}

std::int64_t buffer_count(std::span<const Layer> layers) {
  std::int64_t count = 0;
  for (const Layer& layer : layers) {
    for (const Primitive& primitive : layer.primitives) count += total(buffer_specs(primitive));
  }
  return count;
}

std::span<const Layer> layer_range(const LayerGraph& graph, std::int32_t first, std::int32_t last) {
  if (first < 0 || last > graph.size() || first >= last) {
    throw InputError(fmt::format("no layers [{}, {}) in {}; expected a non-empty part of its {} layers", first, last,
                                 graph.name, graph.size()));
  }
  return std::span(graph.layers).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first));
}

}  // namespace bubblescope
