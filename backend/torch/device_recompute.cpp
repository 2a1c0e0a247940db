// Running a forward again; see device.hpp.
#include "backend/torch/device.hpp"

namespace bubblescope {

void TorchDevice::recompute(Held& stage, const Op& op) {
  InFlight& flight = flying(stage, op);
  ForwardContext how = context(op);
  how.update_statistics = false;
  how.deferred = flight.deferred;
  const auto version = stage.versions.backward(op.iteration, op.microbatch, stage.updates);
  flight.output = stage.module->forward(flight.input, how);
  if (stage.last && !local_) flight.loss = stage.auxiliary->loss(flight.output, flight.labels, flight.images, context(op));
}

}  // namespace bubblescope
