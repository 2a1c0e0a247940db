// Streams (backend/streams.hpp) made of CUDA streams and events.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "backend/cuda/lanes.hpp"
#include "backend/streams.hpp"

namespace bubblescope {

/// How a message gets from rank to rank.
enum class Carrying : std::uint8_t {
  share,  ///< on one GPU the receiver reads the sender's memory; between GPUs as `copy`
  copy,   ///< copied to memory of the receiver's, from device to device
  nccl,   ///< sent and received over NCCL; on one GPU from the sender to itself
};

/// How streams do their work.
struct CudaStreamOptions {
  Carrying transport = Carrying::share;
  /// Keeps lanes busy at random for up to that many GPU clocks before half of what they are given, so that a wait that
  /// is missing shows as a wrong result; 0: never.
  std::int64_t longest_delay = 0;
  std::uint64_t seed = 0;  ///< of the delays
};

/// Work is issued at once, with the lane's stream as LibTorch's current one. Payloads hold torch::Tensor; memory that
/// another stream reads is not given out again before that stream is done with it.
std::unique_ptr<Streams> cuda_streams(std::shared_ptr<CudaLanes> lanes, std::span<const LaneSpec> specs, std::size_t events, const CudaStreamOptions& options);

}  // namespace bubblescope
