// Messages over NCCL.
#include "backend/cuda/nccl_links.hpp"

#include <ATen/ops/arange.h>
#include <c10/cuda/CUDAGuard.h>
#include <gtest/gtest.h>

#include "tests/backend/cuda/gpu.hpp"

namespace bubblescope {
namespace {

TEST(NcclLinks, carry_every_byte_on_one_gpu_and_between_two) {
  BUBBLESCOPE_NEEDS_GPU();
  for (int to = 0; to < std::min(2, count_gpus()); ++to) {
    CudaLanes lanes(Placement::streams, 1, 0);
    const auto stream = c10::cuda::getStreamFromExternal(lanes.stream(0, 0), 0);
    const c10::cuda::CUDAStreamGuard guard(stream);
    for (const std::int64_t count : {1, 1000, 3'000'000}) {
      const at::Tensor sent = at::arange(count, at::TensorOptions(at::kDouble).device(at::kCUDA, 0));
      const at::Tensor received = lanes.links().carry(sent, stream, to);
      stream.synchronize();
      EXPECT_EQ(received.device().index(), to);
      EXPECT_NE(received.data_ptr(), sent.data_ptr());
      EXPECT_TRUE(received.cpu().equal(sent.cpu())) << count;
    }
  }
}

}  // namespace
}  // namespace bubblescope
