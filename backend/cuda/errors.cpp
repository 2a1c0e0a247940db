// What CUDA says of a failure.
#include "backend/cuda/errors.hpp"

#include <fmt/format.h>

#include "sim/core/error.hpp"

namespace bubblescope {

void check_cuda(cudaError_t status, std::string_view call) {
  if (status == cudaSuccess) return;
  throw RunError(fmt::format("{}: {} ({})", call, cudaGetErrorString(status), cudaGetErrorName(status)));
}

void check_driver(CUresult status, std::string_view call) {
  if (status == CUDA_SUCCESS) return;
  // The driver's own texts need the driver; the codes of cuda.h do not.
  throw RunError(fmt::format("{}: driver error {}", call, static_cast<int>(status)));
}

}  // namespace bubblescope
