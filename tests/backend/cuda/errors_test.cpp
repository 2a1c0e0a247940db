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
  EXPECT_NO_THROW(check_nccl(ncclSuccess, "ncclSend"));
  EXPECT_THROW(check_nccl(ncclInvalidUsage, "ncclSend"), RunError);
  EXPECT_NO_THROW(check_driver(CUDA_SUCCESS, "cuGreenCtxCreate"));
  EXPECT_THROW(check_driver(CUDA_ERROR_INVALID_VALUE, "cuGreenCtxCreate"), RunError);
}

TEST(CudaErrors, name_the_call_of_cupti_and_what_it_says) {
  EXPECT_NO_THROW(check_cupti(CUPTI_SUCCESS, "cuptiActivityEnable"));
  try {
    check_cupti(CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED, "cuptiActivityEnable");
    FAIL();
  } catch (const RunError& error) {
    const std::string what = error.what();
    EXPECT_TRUE(what.starts_with("cuptiActivityEnable: ")) << what;
    EXPECT_TRUE(what.ends_with("(CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED 39)")) << what;
  }
}

}  // namespace
}  // namespace bubblescope
