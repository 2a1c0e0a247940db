// Events against bases, bases against the host's clock.
#include "backend/cuda/event_clock.hpp"

#include <c10/cuda/CUDAGuard.h>

#include <cmath>
#include <limits>
#include <utility>

#include "backend/clock.hpp"
#include "backend/cuda/errors.hpp"

namespace bubblescope {
namespace {

cudaEvent_t new_event() {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDefault), "cudaEventCreateWithFlags");
  return event;
}

}  // namespace

EventClock::EventClock(const c10::cuda::CUDAStream& stream) { bases_.push_back(anchor(stream)); }

EventClock::Base EventClock::anchor(const c10::cuda::CUDAStream& stream) {
  // Of several tries the one whose host times lie closest together.
  constexpr int kTries = 20;
  const c10::cuda::CUDAGuard device(stream.device_index());
  Base best;
  Nanos narrowest = std::numeric_limits<Nanos>::max();
  for (int i = 0; i < kTries; ++i) {
    cudaEvent_t event = new_event();
    check_cuda(cudaStreamSynchronize(stream.stream()), "cudaStreamSynchronize");
    const Nanos before = steady_now();
    check_cuda(cudaEventRecord(event, stream.stream()), "cudaEventRecord");
    check_cuda(cudaEventSynchronize(event), "cudaEventSynchronize");
    const Nanos after = steady_now();
    if (after - before < narrowest) {
      narrowest = after - before;
      std::swap(best.event, event);
      best.recorded = best.happened = before + (after - before) / 2;
    }
    if (event != nullptr) cudaEventDestroy(event);
  }
  return best;
}

EventClock::~EventClock() {
  for (const Base& base : bases_) cudaEventDestroy(base.event);
}

std::size_t EventClock::base(const c10::cuda::CUDAStream& stream) {
  const Nanos now = steady_now();
  const std::lock_guard lock(mutex_);
  if (now - bases_.back().recorded > kReach) {
    Base next{new_event(), now, -1};
    check_cuda(cudaEventRecord(next.event, stream.stream()), "cudaEventRecord");
    bases_.push_back(next);
  }
  return bases_.size() - 1;
}

Nanos EventClock::between(cudaEvent_t from, cudaEvent_t to) {
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, from, to), "cudaEventElapsedTime");
  return static_cast<Nanos>(std::llround(static_cast<double>(milliseconds) * 1e6));
}

void EventClock::await(std::size_t base) {
  cudaEvent_t event = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (bases_[base].happened >= 0) return;
    event = bases_[base].event;
  }
  // Whatever came before it on its stream has begun long ago; but others go on recording meanwhile.
  check_cuda(cudaEventSynchronize(event), "cudaEventSynchronize");
}

Nanos EventClock::happened(std::size_t base) {
  for (std::size_t i = 1; i <= base; ++i) {
    if (bases_[i].happened < 0) bases_[i].happened = bases_[i - 1].happened + between(bases_[i - 1].event, bases_[i].event);
  }
  return bases_[base].happened;
}

Nanos EventClock::time(cudaEvent_t event, std::size_t base) {
  for (std::size_t i = 1; i <= base; ++i) await(i);
  const std::lock_guard lock(mutex_);
  const Nanos zero = bases_.front().happened;
  const Nanos elapsed = happened(base) + between(bases_[base].event, event) - zero;
  return zero + elapsed + std::llround(drift_ * static_cast<double>(elapsed));
}

void EventClock::correct(const c10::cuda::CUDAStream& stream) {
  constexpr Nanos kLeast = kSecond;  // in less, anchors are not exact enough
  const std::size_t before = base(stream);
  const Base now = anchor(stream);
  for (std::size_t i = 1; i <= before; ++i) await(i);
  const std::lock_guard lock(mutex_);
  const Nanos elapsed = happened(before) + between(bases_[before].event, now.event) - bases_.front().happened;
  if (elapsed >= kLeast) drift_ = static_cast<double>(now.recorded - bases_.front().happened - elapsed) / static_cast<double>(elapsed);
  cudaEventDestroy(now.event);
}

}  // namespace bubblescope
