// Calls of the CUDA runtime, the driver, NCCL and CUPTI that fail become RunErrors naming the call.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <cupti.h>
#include <nccl.h>

#include <string_view>

namespace bubblescope {

/// Throws RunError with the call's name and CUDA's own words unless `status` is good.
void check_cuda(cudaError_t status, std::string_view call);
void check_driver(CUresult status, std::string_view call);
void check_nccl(ncclResult_t status, std::string_view call);
void check_cupti(CUptiResult status, std::string_view call);

}  // namespace bubblescope
