// The CUDA backend: LibTorch devices on GPUs, or on parts of one, whose work is issued to streams of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.hpp"
#include "backend/cuda/cuda_streams.hpp"
#include "backend/cuda/lanes.hpp"
#include "backend/torch/config.hpp"

namespace bubblescope {

/// Which ranks are this process's, where there are others.
struct CudaShare {
  Rank first = 0;
  std::int32_t count = 1;
};

struct CudaConfig {
  Placement placement = Placement::gpus;
  int gpu = 0;  ///< the first one, of this process's
  std::optional<CudaShare> share{};  ///< none: all ranks are here
  CudaStreamOptions streams{};
  bool graphs = false;  ///< launch the ops of microbatches as CUDA graphs (TorchDevice's recordings)
  bool tell_cublas_sms = true;  ///< that it may count on its rank's SMs alone, where they are a part of the GPU
};

/// Of several processes (`share`, on whole GPUs and without graphs): its devices work at once, the host waiting for every op;
/// their messages need a transport for bodies on GPUs (nccl_transport.hpp).
/// Throws as `torch_backend` does where the parts of `config` do not fit each other. GPUs are looked for when the first
/// device is made (RunError). `config.precision` may be `tf32` besides. Deterministic algorithms need a setting of
/// cuBLAS's environment, which is made here unless there is one.
std::unique_ptr<Backend> cuda_backend(TorchConfig config, const CudaConfig& cuda);

}  // namespace bubblescope
