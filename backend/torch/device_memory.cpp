// What a device holds; see device.hpp.
#include "backend/torch/device.hpp"

#include <algorithm>

namespace bubblescope {

/// Only until all are there: memory is asked for after every op.
void TorchDevice::count_gradients(Held& stage) {
  if (stage.gradient_bytes == stage.parameter_bytes) return;
  stage.gradient_bytes = 0;
  for (const NamedTensor& parameter : stage.optimizer->parameters()) stage.gradient_bytes += bytes_of(parameter.tensor.grad());
}

std::int64_t TorchDevice::held_bytes() const {
  std::int64_t bytes = 0;
  // A stage's output is its flight's as long as that is there, wherever else it waits; unless R makes it once more.
  const auto in_flight = [&](Stage number, std::int64_t iteration, Microbatch microbatch) {
    const auto stage = held_.find(number);
    if (stage == held_.end() || stage->second.recomputed.contains(microbatch)) return false;
    const auto flight = stage->second.flying.find({iteration, microbatch});
    return flight != stage->second.flying.end() && !flight->second->recorded;  // what leaves that is a copy
  };
  const auto add_output = [&](const Key& key, const torch::Tensor& tensor, Stage producer) {
    if (!in_flight(producer, std::get<1>(key), std::get<2>(key))) bytes += bytes_of(tensor);
  };
  for (const auto& [key, tensor] : activations_) add_output(key, tensor, held_.at(std::get<0>(key)).previous);
  for (const auto& [key, tensor] : outgoing_activations_) add_output(key, tensor, std::get<0>(key));
  for (const auto* gradients : {&gradients_, &outgoing_gradients_}) {
    for (const auto& [key, tensor] : *gradients) bytes += bytes_of(tensor);
  }
  for (const auto& [number, stage] : held_) {
    bytes += stage.weight_bytes + stage.versions.bytes() + stage.gradient_bytes + stage.optimizer_bytes;
    for (const auto& place : stage.places) bytes += std::max(place->bytes, place->most);
    for (const auto& [key, flight] : stage.flying) {
      if (flight->recorded) continue;
      bytes += flight->bytes;
      if (!stage.first && !in_flight(stage.previous, key.first, key.second)) bytes += bytes_of(flight->input);
    }
    for (const auto& [key, waiting] : stage.waiting) {
      bytes += waiting.bytes;
      if (in_flight(stage.previous, key.first, key.second)) bytes -= waiting.input_bytes;
    }
  }
  return bytes;
}

}  // namespace bubblescope
