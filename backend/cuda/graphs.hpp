// CUDA graphs as recordings.
#pragma once

#include <memory>

#include "backend/torch/recorder.hpp"

namespace bubblescope {

/// Captures what the calling thread gives LibTorch's current stream, which must not be the default one. All graphs of a
/// recorder take their memory from one pool. While it captures nobody else submits (capture_gate.hpp). Failures are
/// c10::Error.
std::unique_ptr<Recorder> cuda_recorder();

}  // namespace bubblescope
