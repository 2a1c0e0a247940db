// CUDA streams as lanes.
#include "backend/cuda/cuda_streams.hpp"

#include <ATen/cuda/Sleep.h>
#include <ATen/ops/full.h>
#include <c10/cuda/CUDAGuard.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/backend/cuda/gpu.hpp"

namespace bubblescope {
namespace {

constexpr std::int64_t kLong = 20'000'000;  // cycles, about 10 ms

TEST(CudaStreams, what_waits_for_an_event_runs_after_it_in_device_time) {
  BUBBLESCOPE_NEEDS_GPU();
  for (const Placement placement : {Placement::partitions, Placement::streams}) {
    const auto lanes = std::make_shared<CudaLanes>(placement, 2, 0);
    const std::vector<LaneSpec> specs{{0, StreamKind::compute}, {1, StreamKind::compute}};
    const auto streams = cuda_streams(lanes, specs, 4, {});
    streams->record(0, 0);
    streams->submit(0, [] { at::cuda::sleep(kLong); });
    streams->record(0, 1);
    streams->wait(1, 1);
    streams->record(1, 2);
    streams->await(2);
    EXPECT_GT(streams->time(1) - streams->time(0), kMillisecond);
    EXPECT_GE(streams->time(2), streams->time(1));
  }
}

TEST(CudaStreams, a_payload_is_carried_and_read_after_its_writer) {
  BUBBLESCOPE_NEEDS_GPU();
  for (const Carrying transport : {Carrying::share, Carrying::copy, Carrying::nccl}) {
    const auto lanes = std::make_shared<CudaLanes>(Placement::partitions, 2, 0);
    const std::vector<LaneSpec> specs{{0, StreamKind::compute}, {0, StreamKind::communication}, {1, StreamKind::compute}};
    const auto streams = cuda_streams(lanes, specs, 3, {.transport = transport});
    Payload payload;
    at::Tensor seen;
    streams->submit(0, [&] {
      at::cuda::sleep(kLong);
      auto made = std::make_shared<at::Tensor>(at::full({1024}, 7.0, at::TensorOptions().device(at::kCUDA, 0)));
      payload = {made, static_cast<std::int64_t>(made->nbytes())};
    });
    streams->record(0, 0);
    streams->wait(1, 0);
    streams->submit(1, [&] { payload = streams->carry(std::move(payload), 0, 1); });
    streams->record(1, 1);
    streams->wait(2, 1);
    streams->submit(2, [&] {
      seen = *std::static_pointer_cast<at::Tensor>(payload.data) + 1;
    });
    streams->record(2, 2);
    streams->await(2);
    EXPECT_EQ(seen.cpu().sum().item<double>(), 8.0 * 1024);
  }
}

}  // namespace
}  // namespace bubblescope
