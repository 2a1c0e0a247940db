// How LibTorch payloads cross from process to process: tensors as they lie in memory.
#pragma once

#include "backend/payload_codec.hpp"

namespace bubblescope {

/// Of what TorchDevice sends and contributes. A message's tensor is sent from its own memory and comes to lie where the
/// transport received it; off the CPU it is copied to the CPU first, and the receiving device takes it from there.
class TorchCodec : public PayloadCodec {
 public:
  Parcel encode(const Op& op, const Payload& payload) const override;
  Payload decode(const Op& op, Parcel parcel) const override;
};

}  // namespace bubblescope
