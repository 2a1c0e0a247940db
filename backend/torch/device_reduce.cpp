// What ranks do together: the global norm for clipping, and the gradients of a stage's copies.
#include <cmath>
#include <utility>

#include "backend/torch/allocations.hpp"
#include "backend/torch/device.hpp"

namespace bubblescope {
namespace {

/// What a copy of a stage contributes to an ALLREDUCE.
struct CopyState {
  std::vector<torch::Tensor> gradients;   ///< by parameter; the ones it goes on with are others
  std::vector<torch::Tensor> statistics;  ///< by buffer: copies, for the buffers themselves change in place
};

/// The sum in the order given, in memory of its own; undefined where none is defined.
template <typename Of>
torch::Tensor sum(std::span<const Payload> copies, Of of) {
  torch::Tensor sum;
  bool own = false;
  for (const Payload& copy : copies) {
    const torch::Tensor& tensor = of(*std::static_pointer_cast<const CopyState>(copy.data));
    if (!tensor.defined()) continue;
    keep_for_this_stream(tensor);
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
      state->gradients.push_back(parameter.tensor.grad());
      payload.bytes += bytes_of(state->gradients.back());
    }
    for (const NamedTensor& buffer : stage.module->buffers()) state->statistics.push_back(buffer.tensor.clone());
    payload.data = std::move(state);
    return payload;
  }
  if (local_ || shared_->config.clip_norm <= 0) return {};
  auto squares = std::make_shared<double>(0);
  for (const auto& [number, stage] : held_) {
    if (stage.chain == 0) *squares += stage.optimizer->squared_norm();  // once of each gradient: copies have the same
  }
  return {std::move(squares), sizeof(double)};
}

void TorchDevice::reduced(const Op& op, std::span<const Payload> contributions) {
  if (op.kind == Kind::ALLREDUCE) return reduce_copies(held(op), contributions);
  if (local_ || shared_->config.clip_norm <= 0) return;
  double total = 0;
  for (const Payload& squares : contributions) total += *std::static_pointer_cast<const double>(squares.data);
  for (auto& [number, stage] : held_) stage.optimizer->clip(std::sqrt(total), shared_->config.clip_norm);
}

void TorchDevice::reduce_copies(Held& stage, std::span<const Payload> contributions) {
  const torch::NoGradGuard no_grad;
  const auto& parameters = stage.optimizer->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    torch::Tensor parameter = parameters[i].tensor;
    parameter.mutable_grad() = sum(contributions, [i](const CopyState& copy) -> const torch::Tensor& { return copy.gradients[i]; });
  }
  const auto& buffers = stage.module->buffers();
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    torch::Tensor buffer = buffers[i].tensor;
    const torch::Tensor total = sum(contributions, [i](const CopyState& copy) -> const torch::Tensor& { return copy.statistics[i]; });
    buffer.copy_(total / static_cast<double>(contributions.size()));
  }
  count_gradients(stage);
}

}  // namespace bubblescope
