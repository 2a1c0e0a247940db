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

void check_nccl(ncclResult_t status, std::string_view call) {
  if (status == ncclSuccess) return;
  throw RunError(fmt::format("{}: {} (NCCL error {})", call, ncclGetErrorString(status), static_cast<int>(status)));
}

void check_cupti(CUptiResult status, std::string_view call) {
  if (status == CUPTI_SUCCESS) return;
  const char* name = nullptr;
  const char* message = nullptr;
  if (cuptiGetResultString(status, &name) != CUPTI_SUCCESS || name == nullptr) name = "unknown";
  if (cuptiGetErrorMessage(status, &message) != CUPTI_SUCCESS || message == nullptr) message = "no message";
  throw RunError(fmt::format("{}: {} ({} {})", call, message, name, static_cast<int>(status)));
}

}  // namespace bubblescope
