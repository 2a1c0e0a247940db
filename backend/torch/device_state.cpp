// What a device's training state consists of, by name: checkpoints save and restore it.
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>

#include "backend/torch/device.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

struct Snapshot {
  std::map<std::string, torch::Tensor> state;
  torch::Tensor newest_loss;
};

}  // namespace

std::map<std::string, torch::Tensor> TorchDevice::state_of(const Held& stage) {
  std::map<std::string, torch::Tensor> state;
  for (const NamedTensor& t : stage.module->parameters()) state["model." + t.name] = t.tensor.detach();
  for (const NamedTensor& t : stage.module->buffers()) state["model." + t.name] = t.tensor;
  if (stage.auxiliary) {
    const std::string prefix = fmt::format("auxiliary.{}.", stage.position);
    for (const NamedTensor& t : stage.auxiliary->parameters()) state[prefix + t.name] = t.tensor.detach();
    for (const NamedTensor& t : stage.auxiliary->buffers()) state[prefix + t.name] = t.tensor;
  }
  for (const auto& [name, tensor] : stage.optimizer->state()) state[fmt::format("optimizer.{}.{}", stage.position, name)] = tensor;
  const std::vector<torch::Tensor> previous = stage.versions.previous(stage.updates);
  for (std::size_t i = 0; i < previous.size(); ++i) {
    state[fmt::format("previous.{}.{}", stage.position, stage.optimizer->parameters()[i].name)] = previous[i];
  }
  state[fmt::format("updates.{}", stage.position)] = torch::tensor(stage.updates, torch::kInt64);
  return state;
}

std::map<std::string, torch::Tensor> TorchDevice::state() const {
  std::map<std::string, torch::Tensor> state;
  for (const auto& [number, stage] : held_) {
    if (stage.chain == 0) state.merge(state_of(stage));
  }
  return state;
}

void TorchDevice::load(const std::map<std::string, torch::Tensor>& state) {
  const torch::NoGradGuard no_grad;
  const auto copy = [&](const std::string& name, const torch::Tensor& to) {
    const auto found = state.find(name);
    if (found == state.end()) throw InputError(fmt::format("tensor '{}' is missing", name));
    const torch::Tensor& from = found->second;
    if (from.sizes() != to.sizes() || from.scalar_type() != to.scalar_type()) {
      throw InputError(fmt::format("tensor '{}' has another shape or precision than in this run", name));
    }
    torch::Tensor target = to.detach();
    target.copy_(from);
  };
  for (auto& [number, stage] : held_) {
    for (const NamedTensor& t : stage.module->parameters()) copy("model." + t.name, t.tensor);
    for (const NamedTensor& t : stage.module->buffers()) copy("model." + t.name, t.tensor);
    if (stage.auxiliary) {
      const std::string prefix = fmt::format("auxiliary.{}.", stage.position);
      for (const NamedTensor& t : stage.auxiliary->parameters()) copy(prefix + t.name, t.tensor);
      for (const NamedTensor& t : stage.auxiliary->buffers()) copy(prefix + t.name, t.tensor);
    }
    const std::string prefix = fmt::format("optimizer.{}.", stage.position);
    std::map<std::string, torch::Tensor> optimizer;
    for (const auto& [name, tensor] : state) {
      if (name.starts_with(prefix)) optimizer.emplace(name.substr(prefix.size()), tensor);
    }
    stage.optimizer->load(optimizer);
    torch::Tensor updates = torch::tensor(std::int64_t{0}, torch::kInt64);
    copy(fmt::format("updates.{}", stage.position), updates);
    stage.updates = updates.item<std::int64_t>();
    std::vector<torch::Tensor> previous;
    const std::string before = fmt::format("previous.{}.", stage.position);
    const auto any = state.lower_bound(before);
    if (any != state.end() && any->first.starts_with(before)) {
      for (const NamedTensor& t : stage.optimizer->parameters()) copy(before + t.name, previous.emplace_back(torch::empty_like(t.tensor)));
    }
    stage.versions.load(stage.updates, std::move(previous));
    stage.optimizer_bytes = stage.optimizer->state_bytes();
  }
}

std::shared_ptr<const void> TorchDevice::snapshot() const {
  auto copy = std::make_shared<Snapshot>(Snapshot{{}, newest_loss_});
  for (const auto& [number, stage] : held_) copy->state.merge(state_of(stage));  // every chain's: a rank may hold none of the first one's
  for (auto& [name, tensor] : copy->state) tensor = tensor.clone();
  // Another device may go on with it, on another stream.
  if (!where_.is_cpu()) c10::impl::VirtualGuardImpl(where_.type()).synchronizeDevice(where_.index());
  return copy;
}

void TorchDevice::restore(const std::shared_ptr<const void>& snapshot) {
  const auto& copy = *std::static_pointer_cast<const Snapshot>(snapshot);
  load(copy.state);
  // Messages and microbatches under way belong to what is left behind.
  for (auto* messages : {&activations_, &gradients_, &outgoing_activations_, &outgoing_gradients_}) messages->clear();
  for (auto& [number, stage] : held_) {
    stage.flying.clear();
    stage.waiting.clear();
    stage.free_places.clear();
    for (const auto& place : stage.places) land(stage, place);
  }
  newest_loss_ = copy.newest_loss;
  losses_.clear();
  unseen_losses_.clear();
}

}  // namespace bubblescope
