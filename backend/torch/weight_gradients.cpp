// Weight gradients that wait; see weight_gradients.hpp.
#include "backend/torch/weight_gradients.hpp"

#include <array>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

namespace bubblescope {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Which gradients are wanted: of input, weight, bias.
using Wanted = std::array<bool, 3>;
using Gradients = std::tuple<torch::Tensor, torch::Tensor, torch::Tensor>;

torch::Tensor run(const WeightedOp& op, const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias) {
  if (!op.convolution) return at::linear(input, weight, bias);
  return at::conv2d(input, weight, bias, {op.stride, op.stride}, {op.padding, op.padding});
}

Gradients gradients_of(const WeightedOp& op, const torch::Tensor& output, const torch::Tensor& input,
                       const torch::Tensor& weight, const Wanted& wanted) {
  if (op.convolution) {
    return at::convolution_backward(output, input, weight, at::IntArrayRef{weight.size(0)}, {op.stride, op.stride},
                                    {op.padding, op.padding}, {1, 1}, /*transposed=*/false, {0, 0}, /*groups=*/1, wanted);
  }
  const auto rows = [](const torch::Tensor& tensor) { return tensor.reshape({-1, tensor.size(-1)}); };
  Gradients gradients;
  if (wanted[0]) std::get<0>(gradients) = rows(output).mm(weight).view(input.sizes());
  if (wanted[1]) std::get<1>(gradients) = rows(output).t().mm(rows(input));
  if (wanted[2]) std::get<2>(gradients) = rows(output).sum(0);
  return gradients;
}

struct DeferredLayer : torch::autograd::Function<DeferredLayer> {
  static torch::Tensor forward(AutogradContext* context, const WeightedOp& op, const torch::Tensor& input,
                               const torch::Tensor& weight, const std::optional<torch::Tensor>& given_bias,
                               const c10::intrusive_ptr<WeightGradients>& gradients) {
    const torch::Tensor bias = given_bias.value_or(torch::Tensor());
    // In the input's type, which autocast may have shortened.
    const torch::Tensor used = weight.to(input.scalar_type());
    context->save_for_backward({input, weight, bias, used});
    context->saved_data["convolution"] = op.convolution;
    context->saved_data["stride"] = op.stride;
    context->saved_data["padding"] = op.padding;
    context->saved_data["gradients"] = c10::IValue::make_capsule(gradients);
    return run(op, input, used, bias.defined() ? bias.to(input.scalar_type()) : bias);
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    auto& data = context->saved_data;
    const WeightedOp op{data["convolution"].toBool(), data["stride"].toInt(), data["padding"].toInt()};
    const variable_list saved = context->get_saved_variables();
    torch::Tensor input;
    if (context->needs_input_grad(0)) {
      input = std::get<0>(gradients_of(op, outputs[0], saved[0], saved[3], {true, false, false}));
    }
    // Detached: its history would keep the whole graph before this layer.
    const auto waiting = data["gradients"].toCapsule();
    static_cast<WeightGradients&>(*waiting).add({op, saved[0].detach(), saved[1], saved[2], saved[3], outputs[0]});
    return {torch::Tensor(), input, torch::Tensor(), torch::Tensor(), torch::Tensor()};  // of forward's arguments
  }
};

/// As autograd does at a leaf.
void accumulate_at(const torch::Tensor& parameter, torch::Tensor gradient) {
  const auto node = torch::autograd::impl::grad_accumulator(parameter);
  if (gradient.scalar_type() != parameter.scalar_type()) gradient = gradient.to(parameter.scalar_type());
  variable_list gradients;
  gradients.push_back(std::move(gradient));
  (*node)(std::move(gradients));
}

}  // namespace

void WeightGradients::accumulate() {
  const torch::NoGradGuard no_grad;
  for (Layer& layer : layers_) {
    const Layer now = std::exchange(layer, {});  // each layer's tensors go as soon as they are used
    auto [input, weight, bias] =
        gradients_of(now.op, now.output_gradient, now.input, now.used, {false, true, now.bias.defined()});
    accumulate_at(now.weight, std::move(weight));
    if (now.bias.defined()) accumulate_at(now.bias, std::move(bias));
  }
  layers_.clear();
}

std::int64_t WeightGradients::bytes() const {
  std::set<const c10::StorageImpl*> counted;
  std::int64_t bytes = 0;
  for (const Layer& layer : layers_) {
    for (const torch::Tensor* tensor : {&layer.input, &layer.output_gradient, &layer.used}) {
      const auto& storage = tensor->storage();
      if (storage.is_alias_of(layer.weight.storage())) continue;  // the weights are there anyway
      if (counted.insert(storage.unsafeGetStorageImpl()).second) bytes += static_cast<std::int64_t>(storage.nbytes());
    }
  }
  return bytes;
}

bool WeightGradients::shares_memory_of(const torch::Tensor& tensor) const {
  for (const Layer& layer : layers_) {
    if (layer.input.is_alias_of(tensor) || layer.output_gradient.is_alias_of(tensor)) return true;
  }
  return false;
}

torch::Tensor deferred_layer(const WeightedOp& op, const torch::Tensor& input, const torch::Tensor& weight,
                             const torch::Tensor& bias, const c10::intrusive_ptr<WeightGradients>& gradients) {
  // Autograd takes no undefined tensor among its inputs.
  const std::optional<torch::Tensor> given_bias = bias.defined() ? std::optional(bias) : std::nullopt;
  return DeferredLayer::apply(op, input, weight, given_bias, gradients);
}

}  // namespace bubblescope
