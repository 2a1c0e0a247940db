// Events on the host's clock.
#include "backend/cuda/event_clock.hpp"

#include <ATen/cuda/Sleep.h>
#include <c10/cuda/CUDAGuard.h>
#include <gtest/gtest.h>

#include <thread>

#include "backend/clock.hpp"
#include "backend/cuda/errors.hpp"
#include "tests/backend/cuda/gpu.hpp"

namespace bubblescope {
namespace {

// Across several bases: what the host brackets lies within the bracket.
TEST(EventClock, tells_times_between_the_hosts_own) {
  BUBBLESCOPE_NEEDS_GPU();
  CudaLanes lanes(Placement::streams, 1, 0);
  const auto stream = c10::cuda::getStreamFromExternal(lanes.stream(0, 0), 0);
  EventClock clock(stream);
  constexpr Nanos kSlack = 20 * kMicrosecond;  // of the zero
  for (int i = 0; i < 4; ++i) {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDefault), "cudaEventCreateWithFlags");
    const Nanos before = steady_now();
    const std::size_t base = clock.base(stream);
    check_cuda(cudaEventRecord(event, stream.stream()), "cudaEventRecord");
    check_cuda(cudaEventSynchronize(event), "cudaEventSynchronize");
    const Nanos after = steady_now();
    EXPECT_GE(clock.time(event, base), before - kSlack);
    EXPECT_LE(clock.time(event, base), after + kSlack);
    cudaEventDestroy(event);
    std::this_thread::sleep_for(std::chrono::nanoseconds(EventClock::kReach));
  }
}

}  // namespace
}  // namespace bubblescope
