// Backwards of local losses; see device.hpp.
#include <fmt/format.h>

#include "backend/torch/device.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

void TorchDevice::local_backward(Held& stage, const Op& op) {
  if (!local_) throw RunError(fmt::format("{}: LB in a schedule without local losses", cell(op)));
  InFlight& flight = flying(stage, op);
  if (!flight.has_loss) compute_loss(stage, op, flight);
  perform(flight, Kind::LB, [&flight, scale = stage.scale.at(op.microbatch)] {
    flight.loss.backward(torch::full_like(flight.loss, scale), /*retain_graph=*/flight.recorded);
  });
  const auto whole = std::move(stage.flying.at({op.iteration, op.microbatch}));
  stage.flying.erase({op.iteration, op.microbatch});
  land(stage, whole);
  count_gradients(stage);
}

void TorchDevice::interlocked_backward(Held& stage, const Op& op) {
  InFlight& flight = flying(stage, op);
  const bool last = interlocking_.last(op);
  if (interlocking_.own(op)) {
    if (!flight.loss.defined()) compute_loss(stage, op, flight);
    flight.loss.backward(torch::full_like(flight.loss, stage.scale.at(op.microbatch)), /*retain_graph=*/!last);
    flight.loss = torch::Tensor();
  } else {
    flight.output.backward(take(gradients_, op, "gradient of its output"), /*retain_graph=*/!last);
  }
  if (interlocking_.goes_on(op)) {
    auto& onward = here(stage.previous) ? gradients_[Key{stage.previous, op.iteration, op.microbatch, op.slice}]
                                      : outgoing_gradients_[Key{op.stage, op.iteration, op.microbatch, op.slice}];
    onward = flight.input.grad();
  }
  // What the next backward finds is not to be added to this one's.
  if (!stage.first) flight.input.mutable_grad() = torch::Tensor();
  if (last) stage.flying.erase({op.iteration, op.microbatch});
  count_gradients(stage);
}

}  // namespace bubblescope
