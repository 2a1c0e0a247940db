// CUDA streams and events for a run.
#include "backend/cuda/cuda_streams.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/cuda/Sleep.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "backend/cuda/capture_gate.hpp"
#include "backend/cuda/errors.hpp"
#include "backend/cuda/event_clock.hpp"

namespace bubblescope {
namespace {

class CudaStreams : public Streams {
 public:
  CudaStreams(std::shared_ptr<CudaLanes> lanes, std::span<const LaneSpec> specs, std::size_t events, const CudaStreamOptions& options)
      : lanes_(std::move(lanes)), options_(options), events_(events) {
    std::map<Rank, std::size_t> used;
    for (const LaneSpec& spec : specs) {
      const int gpu = lanes_->gpu(spec.rank);
      streams_.push_back(c10::cuda::getStreamFromExternal(lanes_->stream(spec.rank, used[spec.rank]++), static_cast<c10::DeviceIndex>(gpu)));
      if (!clocks_.contains(gpu)) clocks_.emplace(gpu, std::make_unique<EventClock>(streams_.back()));
      random_.emplace_back(static_cast<std::minstd_rand::result_type>(options_.seed * 1000 + streams_.size()));
    }
    // Making them takes the host's time, which is the run's later. On several GPUs it is not known yet where.
    if (clocks_.size() == 1) {
      const c10::cuda::CUDAGuard device(streams_.front().device_index());
      for (Event& event : events_) make(event);
    }
  }

  ~CudaStreams() override {
    for (const c10::cuda::CUDAStream& stream : streams_) cudaStreamSynchronize(stream.stream());
    for (const Event& made : events_) {
      if (made.event != nullptr) cudaEventDestroy(made.event);
    }
  }

  void submit(std::int32_t lane, std::function<void()> work) override {
    const Submitting submitting;
    const c10::cuda::CUDAStreamGuard guard(stream(lane));
    delay(lane);
    work();
  }

  void record(std::int32_t lane, std::int32_t event) override {
    const c10::cuda::CUDAGuard device(stream(lane).device_index());
    Event& made = events_[static_cast<std::size_t>(event)];
    if (made.event == nullptr) make(made);
    made.gpu = stream(lane).device_index();
    made.base = clocks_.at(made.gpu)->base(stream(lane));
    check_cuda(cudaEventRecord(made.event, stream(lane).stream()), "cudaEventRecord");
  }

  void wait(std::int32_t lane, std::int32_t number) override {
    check_cuda(cudaStreamWaitEvent(stream(lane).stream(), event(number).event, 0), "cudaStreamWaitEvent");
  }

  void await(std::int32_t number) override { check_cuda(cudaEventSynchronize(event(number).event), "cudaEventSynchronize"); }

  Nanos time(std::int32_t number) const override { return clocks_.at(event(number).gpu)->time(event(number).event, event(number).base); }

  Payload carry(Payload payload, Rank from, Rank to) override {
    const auto tensor = std::static_pointer_cast<at::Tensor>(payload.data);
    if (!tensor || !tensor->is_cuda()) return payload;
    if (options_.transport == Carrying::share && lanes_->gpu(from) == lanes_->gpu(to)) return payload;
    // This lane reads memory of another one's.
    const c10::cuda::CUDAStream lane = c10::cuda::getCurrentCUDAStream(tensor->device().index());
    c10::cuda::CUDACachingAllocator::recordStream(tensor->storage().data_ptr(), lane);
    if (options_.transport == Carrying::nccl) return {std::make_shared<at::Tensor>(lanes_->links().carry(*tensor, lane, lanes_->gpu(to))), payload.bytes};
    // Memory of the receiver's GPU; this lane fills it.
    const c10::Device target(c10::kCUDA, static_cast<c10::DeviceIndex>(lanes_->gpu(to)));
    at::Tensor copy = at::empty_like(*tensor, tensor->options().device(target));
    copy.copy_(*tensor, /*non_blocking=*/true);
    return {std::make_shared<at::Tensor>(std::move(copy)), payload.bytes};
  }

  void all_done() override {
    for (const auto& [gpu, clock] : clocks_) {
      clock->correct(*std::find_if(streams_.begin(), streams_.end(), [on = gpu](const auto& stream) { return stream.device_index() == on; }));
    }
  }

  bool host_counts() const override { return true; }

 private:
  const c10::cuda::CUDAStream& stream(std::int32_t lane) const { return streams_[static_cast<std::size_t>(lane)]; }

  void delay(std::int32_t lane) {
    if (options_.longest_delay <= 0) return;
    std::minstd_rand& random = random_[static_cast<std::size_t>(lane)];
    if (random() % 2 == 0) at::cuda::sleep(static_cast<std::int64_t>(random()) % options_.longest_delay);
  }

  /// An event, and what it is held against.
  struct Event {
    cudaEvent_t event = nullptr;  ///< made when recorded
    int gpu = -1;
    std::size_t base = 0;
  };
  static void make(Event& event) { check_cuda(cudaEventCreateWithFlags(&event.event, cudaEventDefault), "cudaEventCreateWithFlags"); }
  const Event& event(std::int32_t number) const { return events_[static_cast<std::size_t>(number)]; }

  std::shared_ptr<CudaLanes> lanes_;
  CudaStreamOptions options_;
  std::vector<c10::cuda::CUDAStream> streams_;  ///< by lane
  std::vector<std::minstd_rand> random_;        ///< by lane
  std::vector<Event> events_;
  std::map<int, std::unique_ptr<EventClock>> clocks_;  ///< by GPU
};

}  // namespace

std::unique_ptr<Streams> cuda_streams(std::shared_ptr<CudaLanes> lanes, std::span<const LaneSpec> specs, std::size_t events, const CudaStreamOptions& options) {
  return std::make_unique<CudaStreams>(std::move(lanes), specs, events, options);
}

}  // namespace bubblescope
