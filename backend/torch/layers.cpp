// Primitives in LibTorch; see layers.hpp.
#include "backend/torch/layers.hpp"

#include <fmt/format.h>

#include <cmath>

#include "backend/torch/autocast.hpp"
#include "backend/torch/resize.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

namespace {

constexpr double kBatchNormMomentum = 0.1;
constexpr double kBatchNormEpsilon = 1e-5;
constexpr double kLayerNormEpsilon = 1e-6;

/// N(0, deviation) cut at two standard deviations, by the inverse of the normal distribution.
torch::Tensor truncated_normal(const Shape& shape, double deviation, at::Generator& generator) {
  const double edge = std::erf(std::sqrt(2.0));  // erf(2 / sqrt 2)
  auto uniform = torch::empty(shape, torch::kFloat64).uniform_(-edge, edge, generator);
  return uniform.erfinv_().mul_(deviation * std::sqrt(2.0)).clamp_(-2 * deviation, 2 * deviation);
}

/// Inputs that one output of a convolution or linear layer sums over.
std::int64_t fan_in(const Primitive& p) {
  return p.kind == PrimitiveKind::conv ? p.input[0] * p.kernel * p.kernel : p.input.back();
}

torch::Tensor initial_weight(const Primitive& p, const Shape& shape, at::Generator& generator) {
  switch (p.init) {
    case Init::fan_out_normal: {
      const auto fan_out = static_cast<double>(p.kernel * p.kernel * p.output[0]);
      return torch::empty(shape, torch::kFloat64).normal_(0, std::sqrt(2 / fan_out), generator);
    }
    case Init::fan_in_uniform: {
      const double bound = 1 / std::sqrt(static_cast<double>(fan_in(p)));
      return torch::empty(shape, torch::kFloat64).uniform_(-bound, bound, generator);
    }
    case Init::truncated_normal:
      return truncated_normal(shape, 0.02, generator);
  }
  throw std::logic_error("unknown init");
}

torch::Tensor initial_bias(const Primitive& p, const Shape& shape, at::Generator& generator) {
  if (p.init != Init::fan_in_uniform) return torch::zeros(shape, torch::kFloat64);
  return initial_weight(p, shape, generator);
}

torch::Tensor batch_norm(const PrimitiveTensors& t, const torch::Tensor& x, const PassMode& mode) {
  if (mode.batch_statistics && x.numel() == x.size(1)) {
    throw RunError("batch norm has one value per channel and cannot take its variance; expected microbatches of at "
                   "least 2 samples, or batchnorm = \"frozen\"");
  }
  const bool running = !mode.batch_statistics || mode.update_statistics;
  return at::batch_norm(x, t.parameters[0], t.parameters[1], running ? t.buffers[0] : torch::Tensor(),
                        running ? t.buffers[1] : torch::Tensor(), mode.batch_statistics, kBatchNormMomentum,
                        kBatchNormEpsilon, /*cudnn_enabled=*/true);
}

/// [b, n, 3 width] -> [b, n, width]; queries, keys and values lie one after another.
torch::Tensor attention(const torch::Tensor& x, std::int64_t heads) {
  const std::int64_t batch = x.size(0);
  const std::int64_t tokens = x.size(1);
  const std::int64_t width = x.size(2) / 3;
  const auto split = x.view({batch, tokens, 3, heads, width / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
  const auto mixed = at::scaled_dot_product_attention(split[0], split[1], split[2]);
  return mixed.transpose(1, 2).reshape({batch, tokens, width});
}

torch::Tensor dropout(const torch::Tensor& x, double probability, at::Generator& masks) {
  const double keep = 1 - probability;
  // Drawn on the host, so that it is the same on every device, which copies it by itself.
  const auto options = x.options().device(torch::kCPU).pinned_memory(!x.is_cpu());
  const auto mask = torch::empty(x.sizes(), options).bernoulli_(keep, masks).div_(keep);
  return x * mask.to(x.device(), /*non_blocking=*/true);
}

}  // namespace

PrimitiveTensors initial_tensors(const Primitive& p, at::Generator& generator) {
  PrimitiveTensors tensors;
  const bool norm = p.kind == PrimitiveKind::batch_norm || p.kind == PrimitiveKind::layer_norm;
  for (const TensorSpec& spec : parameter_specs(p)) {
    if (norm) {
      tensors.parameters.push_back(torch::full(spec.shape, spec.name == "weight" ? 1.0 : 0.0, torch::kFloat64));
    } else if (spec.name == "bias") {
      tensors.parameters.push_back(initial_bias(p, spec.shape, generator));
    } else {
      tensors.parameters.push_back(initial_weight(p, spec.shape, generator));
    }
  }
  for (const TensorSpec& spec : buffer_specs(p)) {
    tensors.buffers.push_back(torch::full(spec.shape, spec.name == "running_var" ? 1.0 : 0.0, torch::kFloat64));
  }
  return tensors;
}

torch::Tensor run_primitive(const Primitive& p, const PrimitiveTensors& t, const torch::Tensor& x, const torch::Tensor& y,
                            const PassMode& mode, at::Generator& masks) {
  const auto bias = [&] { return p.bias ? t.parameters[1] : torch::Tensor(); };
  switch (p.kind) {
    case PrimitiveKind::conv:
      if (mode.deferred) return deferred_layer({true, p.stride, p.padding}, cast_as_scope_says(x), t.parameters[0], bias(), mode.deferred);
      return at::conv2d(x, t.parameters[0], bias(), {p.stride, p.stride}, {p.padding, p.padding});
    case PrimitiveKind::batch_norm:
      return batch_norm(t, x, mode);
    case PrimitiveKind::layer_norm:
      return at::layer_norm(x, {p.input.back()}, t.parameters[0], t.parameters[1], kLayerNormEpsilon);
    case PrimitiveKind::relu:
      return at::relu(x);
    case PrimitiveKind::gelu:
      return at::gelu(x);
    case PrimitiveKind::sigmoid:
      return at::sigmoid(x);
    case PrimitiveKind::linear:
      if (mode.deferred) return deferred_layer({}, cast_as_scope_says(x), t.parameters[0], bias(), mode.deferred);
      return at::linear(x, t.parameters[0], bias());
    case PrimitiveKind::attention:
      return attention(x, p.heads);
    case PrimitiveKind::average_pool:
      return average_pool(x, p.output[1], p.output[2]);
    case PrimitiveKind::upsample:
      return upsample(x, p.output[1], p.output[2]);
    case PrimitiveKind::flatten:
      return x.flatten(1);
    case PrimitiveKind::tokens:
      return x.flatten(2).transpose(1, 2);
    case PrimitiveKind::embed: {
      const auto token = t.parameters[0].expand({x.size(0), 1, p.input[1]});
      return at::cat({token, x}, 1) + t.parameters[1];
    }
    case PrimitiveKind::select_token:
      return x.select(1, 0);
    case PrimitiveKind::dropout:
      return mode.dropout ? dropout(x, p.probability, masks) : x;
    case PrimitiveKind::add:
      return x + y;
  }
  throw std::logic_error("unknown primitive");
}

}  // namespace bubblescope
