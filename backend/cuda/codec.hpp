// How payloads of ranks on GPUs cross from process to process.
#pragma once

#include "backend/torch/codec.hpp"

namespace bubblescope {

/// A message's tensor stays on its GPU (`Parcel::gpu`), for a transport that carries it from there to another one
/// (backend/cuda/nccl_transport.hpp), and the receiver's tensor is the memory that came. What ranks contribute to
/// collectives passes through the host's memory, as TorchCodec has it.
class CudaCodec final : public TorchCodec {
 public:
  Parcel encode(const Op& op, const Payload& payload) const override;
  Payload decode(const Op& op, Parcel parcel) const override;
};

}  // namespace bubblescope
