// Work and kept values of layers; see layer_costs.hpp.
#include "sim/workload/layer_costs.hpp"

#include <algorithm>

namespace bubblescope {

std::int64_t forward_macs(const Primitive& p) {
  switch (p.kind) {
    case PrimitiveKind::conv:
      return elements(p.output) * p.input[0] * p.kernel * p.kernel;
    case PrimitiveKind::linear:
      return elements(p.output) * p.input.back();
    case PrimitiveKind::attention:  // scores and weighted sum: tokens^2 * width each
      return 2 * p.output[0] * p.output[0] * p.output[1];
    default:
      return 0;
  }
}

std::int64_t forward_macs(std::span<const Layer> layers) {
  std::int64_t macs = 0;
  for (const Layer& layer : layers) {
    for (const Primitive& primitive : layer.primitives) macs += forward_macs(primitive);
  }
  return macs;
}

std::int64_t forward_macs(const AuxiliaryNetwork& network) {
  std::int64_t macs = 0;
  for (const Branch& branch : network.branches) macs += forward_macs(branch.graph.layers);
  return macs;
}

namespace {

/// The three passes of one primitive.
struct Passes {
  Work forward, input, weight;
};

/// Elementwise work is counted by its memory traffic; its FLOPs are small beside and rough.
Passes passes(const Primitive& p, std::int64_t batch, bool frozen_batchnorm) {
  const double in = static_cast<double>(batch) * static_cast<double>(elements(p.input));
  const double out = static_cast<double>(batch) * static_cast<double>(elements(p.output));
  const double weights = static_cast<double>(parameter_count(p));
  const double macs = static_cast<double>(batch) * static_cast<double>(forward_macs(p));
  switch (p.kind) {
    case PrimitiveKind::conv:
    case PrimitiveKind::linear:
      return {{2 * macs, in + weights + out, 1},
              {2 * macs, out + weights + in, 1},
              {2 * macs, in + out + weights, p.bias ? 2 : 1}};
    case PrimitiveKind::batch_norm:
      // Forward: a pass for the statistics, a pass that normalises. Backward: two sums, then the
      // gradient, each over input and output gradient.
      if (frozen_batchnorm) return {{2 * in, 2 * in, 1}, {4 * in, 4 * in, 1}, {}};
      return {{5 * in, 3 * in, 1}, {9 * in, 5 * in, 1}, {}};
    case PrimitiveKind::layer_norm:
      return {{6 * in, 2 * in, 1}, {11 * in, 5 * in, 2}, {}};
    case PrimitiveKind::relu:
      return {{in, 2 * in, 1}, {in, 3 * in, 1}, {}};
    case PrimitiveKind::gelu:
      return {{8 * in, 2 * in, 1}, {14 * in, 3 * in, 1}, {}};
    case PrimitiveKind::sigmoid:
      return {{4 * in, 2 * in, 1}, {3 * in, 3 * in, 1}, {}};
    case PrimitiveKind::attention:
      // Fused: scores are never written; the backward computes them again, five products for two.
      return {{2 * macs, in + out, 1}, {5 * macs, 2 * in + 2 * out, 2}, {}};
    case PrimitiveKind::average_pool:
      return {{in, in + out, 1}, {in, in + out, 1}, {}};
    case PrimitiveKind::upsample:
      return {{7 * out, in + out, 1}, {7 * out, in + out, 1}, {}};
    case PrimitiveKind::embed:
      // Concatenate, add the positions; their gradient and the class token's are sums over the batch.
      return {{out, 2 * in + 3 * out, 2}, {out, out, 2}, {}};
    case PrimitiveKind::select_token:
      return {{}, {0, in + 2 * out, 2}, {}};
    case PrimitiveKind::dropout:
      return {{3 * in, 6 * in, 3}, {in, 3 * in, 1}, {}};
    case PrimitiveKind::add:
      return {{out, 3 * out, 1}, {}, {}};
    case PrimitiveKind::flatten:
    case PrimitiveKind::tokens:
      return {};
  }
  return {};
}

void append(std::vector<Work>& list, const Work& work) {
  if (work.launches > 0) list.push_back(work);
}

}  // namespace

PassWork layer_work(std::span<const Layer> layers, std::int64_t batch, bool input_gradient, bool frozen_batchnorm) {
  PassWork work;
  bool input_needs = input_gradient;  // whether the gradient of the layer's input is wanted
  for (const Layer& layer : layers) {
    std::vector<bool> needs{input_needs};
    std::vector<int> uses(layer.primitives.size() + 1, 0);
    for (const Primitive& p : layer.primitives) {
      const Passes costs = passes(p, batch, frozen_batchnorm);
      bool need = false;
      for (const std::int32_t value : p.inputs) {
        if (value < 0 || !needs[static_cast<std::size_t>(value)]) continue;
        need = true;
        // A value that several primitives read has its gradients added up.
        if (++uses[static_cast<std::size_t>(value)] > 1) {
          const double size = static_cast<double>(batch) * static_cast<double>(elements(p.input));
          append(work.input, {size, 3 * size, 1});
        }
      }
      // Trains its own parameters in the input pass.
      const bool own = p.kind == PrimitiveKind::batch_norm || p.kind == PrimitiveKind::layer_norm || p.kind == PrimitiveKind::embed;
      append(work.forward, costs.forward);
      if (need || own) append(work.input, costs.input);
      append(work.weight, costs.weight);
      needs.push_back(need || parameter_count(p) > 0);
    }
    input_needs = needs.back();
  }
  return work;
}

PassWork loss_work(LossKind loss, const Shape& shape, std::int64_t batch) {
  const double n = static_cast<double>(batch);
  const double all = n * static_cast<double>(elements(shape));
  switch (loss) {
    case LossKind::cross_entropy:  // log-softmax, mean of the labels' entries
      return {{{5 * all, 2 * all, 1}, {n, 2 * n, 1}}, {{n, all, 1}, {3 * all, 3 * all, 1}}, {}};
    case LossKind::reconstruction:
      return {{{6 * all, 3 * all, 1}, {all, all, 1}}, {{6 * all, 3 * all, 1}}, {}};
    case LossKind::contrastive:
    case LossKind::similarity: {
      // Normalise, all pairs' products (backward: one per side), then some passes over the pairs.
      const double features = shape.size() == 3 && loss == LossKind::similarity ? static_cast<double>(shape[0])
                                                                               : static_cast<double>(elements(shape));
      const double product = 2 * n * n * features;
      return {{{4 * all, 3 * all, 4}, {product, 2 * n * features + n * n, 1}, {8 * n * n, 12 * n * n, 8}},
              {{8 * n * n, 12 * n * n, 8}, {2 * product, 4 * n * features + 2 * n * n, 2}, {6 * all, 5 * all, 4}},
              {}};
    }
  }
  return {};
}

KeptValues::KeptValues() : values_(1) {}

void KeptValues::keep(Value value, bool for_weights) {
  Entry& base = values_[static_cast<std::size_t>(values_[static_cast<std::size_t>(value)].base)];
  base.kept = true;
  base.for_weights |= for_weights;
}

KeptValues::Value KeptValues::add(std::span<const Layer> layers, Value from) {
  for (const Layer& layer : layers) {
    const Value offset = static_cast<Value>(values_.size()) - 1;  // of the layer's own numbers
    const auto global = [&](std::int32_t value) { return value == 0 ? from : offset + value; };
    if (from == 0 && values_.front().elements == 0) values_.front().elements = bubblescope::elements(layer.input);
    for (const Primitive& p : layer.primitives) {
      const Value x = global(p.inputs[0]);
      const auto y = static_cast<Value>(values_.size());
      Entry entry{y, bubblescope::elements(p.output), false, false};
      switch (p.kind) {
        case PrimitiveKind::flatten:
        case PrimitiveKind::tokens:
        case PrimitiveKind::select_token:
          entry.base = values_[static_cast<std::size_t>(x)].base;
          break;
        default:
          break;
      }
      values_.push_back(entry);
      switch (p.kind) {
        case PrimitiveKind::conv:
        case PrimitiveKind::linear:
          keep(x, true);
          gradients_ += bubblescope::elements(p.output);
          break;
        case PrimitiveKind::batch_norm:
        case PrimitiveKind::gelu:
        case PrimitiveKind::average_pool:
          keep(x, false);
          break;
        case PrimitiveKind::layer_norm:  // and mean and deviation of every token
          keep(x, false);
          extra_ += 2 * (bubblescope::elements(p.input) / p.input.back());
          break;
        case PrimitiveKind::relu:
        case PrimitiveKind::sigmoid:
          keep(y, false);
          break;
        case PrimitiveKind::attention:  // and every head's log-sum-exp per token
          keep(x, false);
          keep(y, false);
          extra_ += p.heads * p.output[0];
          break;
        case PrimitiveKind::dropout:
          extra_ += bubblescope::elements(p.output);
          break;
        default:
          break;
      }
    }
    from = static_cast<Value>(values_.size()) - 1;
  }
  return from;
}

std::int64_t KeptValues::elements() const {
  std::int64_t count = extra_;
  for (const Entry& entry : values_) count += entry.kept ? entry.elements : 0;
  return count;
}

std::int64_t KeptValues::elements_until_w() const {
  std::int64_t count = gradients_;
  for (const Entry& entry : values_) count += entry.for_weights ? entry.elements : 0;
  return count;
}

std::int64_t boundary_elements(const Layer& layer) { return elements(layer.output); }

}  // namespace bubblescope
