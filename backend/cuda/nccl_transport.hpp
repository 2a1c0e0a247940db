// Bodies of parcels from GPU to GPU over NCCL, between processes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "backend/gpu_wires.hpp"
#include "backend/transport.hpp"

namespace bubblescope {

/// Wires that are NCCL communicators of two ranks, each with a stream of its own at either end. What comes lies on GPU
/// `receiver()`, asked for when the first one comes, in memory of LibTorch's that belongs to the wire's stream and is the
/// body's tensor (backend/cuda/gpu_body.hpp): who reads it on another stream notes that, as with any tensor. Both ends
/// must be different GPUs; NCCL refuses one.
std::unique_ptr<GpuWires> nccl_wires(std::function<std::int32_t()> receiver);

/// A transport for bodies of the host and of GPUs: `host` with NCCL wires.
std::unique_ptr<Transport> nccl_transport(std::unique_ptr<Transport> host, std::function<std::int32_t()> receiver);

}  // namespace bubblescope
