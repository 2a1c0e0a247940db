// What ranks do together: the global norm for clipping, and the gradients of a stage's copies.
#include <utility>

#include "backend/torch/allocations.hpp"
#include "backend/torch/copy_state.hpp"
#include "backend/torch/device.hpp"

namespace bubblescope {
namespace {

/// What another rank contributed, on this rank's device, to be read by its current stream.
torch::Tensor fetch(const torch::Tensor& tensor, const torch::Device& where) {
  keep_for_this_stream(tensor);
  return tensor.to(where, /*non_blocking=*/true);
}

/// The sum in the order given, in memory of its own; undefined where none is defined.
template <typename Of>
torch::Tensor sum(std::span<const Payload> copies, const torch::Device& where, Of of) {
  torch::Tensor sum;
  bool own = false;
  for (const Payload& copy : copies) {
    const torch::Tensor& contributed = of(*std::static_pointer_cast<const CopyState>(copy.data));
    if (!contributed.defined()) continue;
    const torch::Tensor tensor = fetch(contributed, where);
    if (own) {
      sum.add_(tensor);
    } else {
      own = sum.defined();
      sum = own ? sum + tensor : tensor;
    }
  }
  return own || !sum.defined() ? sum : sum.clone();
}

}  // namespace

Payload TorchDevice::contribution(const Op& op) {
  if (op.kind == Kind::ALLREDUCE) {
    const Held& stage = held(op);
    auto state = std::make_shared<CopyState>();
    Payload payload;
    for (const NamedTensor& parameter : stage.optimizer->parameters()) {
      const torch::Tensor& gradient = parameter.tensor.grad();
      // Gradients that stay in place are written while others may still read.
      state->gradients.push_back(graphs_ && gradient.defined() ? gradient.clone() : gradient);
      payload.bytes += bytes_of(state->gradients.back());
    }
    for (const NamedTensor& buffer : stage.module->buffers()) state->statistics.push_back(buffer.tensor.clone());
    payload.data = std::move(state);
    return payload;
  }
  if (local_ || shared_->config.clip_norm <= 0) return {};
  auto squares = std::make_shared<torch::Tensor>(torch::zeros({}, torch::TensorOptions(torch::kFloat64).device(where_)));
  for (const auto& [number, stage] : held_) {
    if (stage.chain == 0) *squares = *squares + stage.optimizer->squared_norm();  // once of each gradient: copies have the same
  }
  return {std::move(squares), sizeof(double)};
}

void TorchDevice::reduced(const Op& op, std::span<const Payload> contributions) {
  if (op.kind == Kind::ALLREDUCE) return reduce_copies(held(op), contributions);
  if (local_ || shared_->config.clip_norm <= 0) return;
  torch::Tensor total = torch::zeros({}, torch::TensorOptions(torch::kFloat64).device(where_));
  for (const Payload& squares : contributions) total = total + fetch(*std::static_pointer_cast<const torch::Tensor>(squares.data), where_);
  for (auto& [number, stage] : held_) stage.optimizer->clip(total, shared_->config.clip_norm);
}

void TorchDevice::reduce_copies(Held& stage, std::span<const Payload> contributions) {
  const torch::NoGradGuard no_grad;
  const auto& parameters = stage.optimizer->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    torch::Tensor parameter = parameters[i].tensor;
    const torch::Tensor total = sum(contributions, where_, [i](const CopyState& copy) -> const torch::Tensor& { return copy.gradients[i]; });
    if (graphs_ && parameter.grad().defined()) {
      parameter.mutable_grad().copy_(total);
    } else {
      parameter.mutable_grad() = total;
    }
  }
  const auto& buffers = stage.module->buffers();
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    torch::Tensor buffer = buffers[i].tensor;
    const torch::Tensor total = sum(contributions, where_, [i](const CopyState& copy) -> const torch::Tensor& { return copy.statistics[i]; });
    buffer.copy_(total / static_cast<double>(contributions.size()));
  }
  count_gradients(stage);
}

}  // namespace bubblescope
