// Microbatches in flight, and the recordings of their ops; see device.hpp.
#include "backend/torch/device.hpp"

#include <algorithm>

namespace bubblescope {

TorchDevice::InFlight& TorchDevice::take_off(Held& stage, const Op& op) {
  auto& flight = stage.flying[{op.iteration, op.microbatch}];
  // Libraries set themselves up in what they are first asked for, which no recording may contain; and gradients
  // must be there, or their places would be the recording's.
  if (!graphs_ || !stage.warm) {
    flight = std::make_shared<InFlight>();
    return *flight;
  }
  const Recipe recipe{stage.split.contains(op.microbatch), stage.scale.at(op.microbatch)};
  auto& free = stage.free_places[recipe];
  if (free.empty()) {
    flight = stage.places.emplace_back(std::make_shared<InFlight>());
    flight->recorded = true;
    flight->recipe = recipe;
    flight->recorder = graphs_();
  } else {
    flight = std::move(free.back());
    free.pop_back();
  }
  flight->has_loss = false;
  return *flight;
}

void TorchDevice::land(Held& stage, const std::shared_ptr<InFlight>& flight) {
  stage.warm = true;
  if (flight->recorded) stage.free_places[flight->recipe].push_back(flight);
}

void TorchDevice::perform(InFlight& flight, Kind kind, std::function<void()> work) {
  if (!flight.recorded) return work();
  auto& recording = flight.recordings[kind];
  if (recording) return recording->launch();
  const std::int64_t before = allocated_->live();
  recording = flight.recorder->record(std::move(work));
  recording->launch();
  // What a recording frees again stays with its microbatch's place, whose other recordings use it.
  flight.most = std::max(flight.most, flight.bytes + allocated_->peak() - before);
  flight.bytes += allocated_->live() - before;
}

void TorchDevice::put(InFlight& flight, torch::Tensor& place, const torch::Tensor& value) {
  if (!flight.recorded) {
    place = value;
    return;
  }
  const torch::NoGradGuard no_grad;
  if (!place.defined()) {
    place = torch::empty_like(value);
    flight.bytes += bytes_of(place);
  }
  place.copy_(value, /*non_blocking=*/true);
}

}  // namespace bubblescope
