// CUDA's failures as errors.
#include "backend/cuda/errors.hpp"

#include <gtest/gtest.h>

#include <string>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

TEST(CudaErrors, name_the_call_and_what_cuda_says) {
  EXPECT_NO_THROW(check_cuda(cudaSuccess, "cudaFree"));
  try {
    check_cuda(cudaErrorMemoryAllocation, "cudaMalloc");
    FAIL();
  } catch (const RunError& error) {
    EXPECT_EQ(std::string(error.what()), "cudaMalloc: out of memory (cudaErrorMemoryAllocation)");
  }
  EXPECT_NO_THROW(check_driver(CUDA_SUCCESS, "cuGreenCtxCreate"));
  EXPECT_THROW(check_driver(CUDA_ERROR_INVALID_VALUE, "cuGreenCtxCreate"), RunError);
}

}  // namespace
}  // namespace bubblescope
