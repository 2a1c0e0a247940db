// CUDA streams and events for a run.
#include "backend/cuda/cuda_streams.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "backend/clock.hpp"
#include "backend/cuda/errors.hpp"

namespace bubblescope {
namespace {

/// A point that is known on the GPU's clock and on the host's.
struct Zero {
  cudaEvent_t event = nullptr;
  Nanos host = 0;
};

class CudaStreams : public Streams {
 public:
  CudaStreams(std::shared_ptr<CudaLanes> lanes, std::span<const LaneSpec> specs, std::size_t events, Transport transport)
      : lanes_(std::move(lanes)), transport_(transport), events_(events, nullptr), gpu_of_(events, -1) {
    std::map<Rank, std::size_t> used;
    for (const LaneSpec& spec : specs) {
      const int gpu = lanes_->gpu(spec.rank);
      streams_.push_back(c10::cuda::getStreamFromExternal(lanes_->stream(spec.rank, used[spec.rank]++), static_cast<c10::DeviceIndex>(gpu)));
      if (!zeros_.contains(gpu)) zeros_[gpu] = find_zero(streams_.back());
    }
  }

  ~CudaStreams() override {
    for (const c10::cuda::CUDAStream& stream : streams_) cudaStreamSynchronize(stream.stream());
    for (const auto& [gpu, zero] : zeros_) cudaEventDestroy(zero.event);
    for (cudaEvent_t event : events_) {
      if (event != nullptr) cudaEventDestroy(event);
    }
  }

  void submit(std::int32_t lane, std::function<void()> work) override {
    const c10::cuda::CUDAStreamGuard guard(stream(lane));
    work();
  }

  void record(std::int32_t lane, std::int32_t event) override {
    const c10::cuda::CUDAGuard device(stream(lane).device_index());
    cudaEvent_t& made = events_[static_cast<std::size_t>(event)];
    if (made == nullptr) check_cuda(cudaEventCreateWithFlags(&made, cudaEventDefault), "cudaEventCreateWithFlags");
    check_cuda(cudaEventRecord(made, stream(lane).stream()), "cudaEventRecord");
    gpu_of_[static_cast<std::size_t>(event)] = stream(lane).device_index();
  }

  void wait(std::int32_t lane, std::int32_t event) override {
    check_cuda(cudaStreamWaitEvent(stream(lane).stream(), events_[static_cast<std::size_t>(event)], 0), "cudaStreamWaitEvent");
  }

  void await(std::int32_t event) override { check_cuda(cudaEventSynchronize(events_[static_cast<std::size_t>(event)]), "cudaEventSynchronize"); }

  Nanos time(std::int32_t event) const override {
    const Zero& zero = zeros_.at(gpu_of_[static_cast<std::size_t>(event)]);
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, zero.event, events_[static_cast<std::size_t>(event)]), "cudaEventElapsedTime");
    return zero.host + static_cast<Nanos>(static_cast<double>(milliseconds) * 1e6);
  }

  Payload carry(Payload payload, Rank from, Rank to) override {
    const auto tensor = std::static_pointer_cast<at::Tensor>(payload.data);
    if (!tensor || !tensor->is_cuda()) return payload;
    if (transport_ == Transport::share && lanes_->gpu(from) == lanes_->gpu(to)) return payload;
    // This lane reads memory of another one's.
    c10::cuda::CUDACachingAllocator::recordStream(tensor->storage().data_ptr(), c10::cuda::getCurrentCUDAStream(tensor->device().index()));
    // Memory of the receiver's GPU; this lane fills it.
    const c10::Device target(c10::kCUDA, static_cast<c10::DeviceIndex>(lanes_->gpu(to)));
    at::Tensor copy = at::empty_like(*tensor, tensor->options().device(target));
    copy.copy_(*tensor, /*non_blocking=*/true);
    return {std::make_shared<at::Tensor>(std::move(copy)), payload.bytes};
  }

  bool host_counts() const override { return true; }

 private:
  const c10::cuda::CUDAStream& stream(std::int32_t lane) const { return streams_[static_cast<std::size_t>(lane)]; }

  /// Of several tries the one whose host times lie closest together.
  static Zero find_zero(const c10::cuda::CUDAStream& stream) {
    const c10::cuda::CUDAGuard device(stream.device_index());
    Zero best;
    Nanos narrowest = std::numeric_limits<Nanos>::max();
    for (int i = 0; i < 20; ++i) {
      cudaEvent_t event = nullptr;
      check_cuda(cudaEventCreateWithFlags(&event, cudaEventDefault), "cudaEventCreateWithFlags");
      check_cuda(cudaStreamSynchronize(stream.stream()), "cudaStreamSynchronize");
      const Nanos before = steady_now();
      check_cuda(cudaEventRecord(event, stream.stream()), "cudaEventRecord");
      check_cuda(cudaEventSynchronize(event), "cudaEventSynchronize");
      const Nanos after = steady_now();
      if (after - before < narrowest) {
        narrowest = after - before;
        std::swap(best.event, event);
        best.host = before + (after - before) / 2;
      }
      if (event != nullptr) cudaEventDestroy(event);
    }
    return best;
  }

  std::shared_ptr<CudaLanes> lanes_;
  Transport transport_;
  std::vector<c10::cuda::CUDAStream> streams_;  ///< by lane
  std::vector<cudaEvent_t> events_;             ///< made when recorded
  std::vector<int> gpu_of_;                     ///< by event
  std::map<int, Zero> zeros_;                   ///< by GPU
};

}  // namespace

std::unique_ptr<Streams> cuda_streams(std::shared_ptr<CudaLanes> lanes, std::span<const LaneSpec> specs, std::size_t events, Transport transport) {
  return std::make_unique<CudaStreams>(std::move(lanes), specs, events, transport);
}

}  // namespace bubblescope
