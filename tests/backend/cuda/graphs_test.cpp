// CUDA graphs as recordings.
#include "backend/cuda/graphs.hpp"

#include <ATen/ops/full.h>
#include <c10/cuda/CUDAGuard.h>
#include <gtest/gtest.h>

#include "tests/backend/cuda/gpu.hpp"

namespace bubblescope {
namespace {

TEST(CudaGraphs, do_nothing_when_recorded_and_all_of_it_at_every_launch) {
  BUBBLESCOPE_NEEDS_GPU();
  CudaLanes lanes(Placement::partitions, 1, 0);
  const auto stream = c10::cuda::getStreamFromExternal(lanes.stream(0, 0), 0);
  const c10::cuda::CUDAStreamGuard guard(stream);
  const at::Tensor input = at::full({8}, 3.0, at::TensorOptions().device(at::kCUDA, 0));
  const at::Tensor sum = at::zeros_like(input);
  at::Tensor output;
  const auto recorder = cuda_recorder();
  const auto recording = recorder->record([&] {
    output = input * 2;
    sum.add_(output);
  });
  stream.synchronize();
  EXPECT_EQ(sum.sum().item<float>(), 0);
  recording->launch();
  EXPECT_EQ(output.sum().item<float>(), 48);
  input.fill_(1);
  recording->launch();
  EXPECT_EQ(output.sum().item<float>(), 16);
  EXPECT_EQ(sum.sum().item<float>(), 64);
}

}  // namespace
}  // namespace bubblescope
