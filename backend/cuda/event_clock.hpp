// When CUDA events happened, on the host's steady clock.
#pragma once

#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <deque>
#include <mutex>

#include "sim/core/time.hpp"

namespace bubblescope {

/// The clock of one GPU. CUDA tells the time between two events in float milliseconds, which after 10 s steps by 1 us;
/// so events are held against a base that is at most `kReach` older, and bases against each other.
class EventClock {
 public:
  static constexpr Nanos kReach = 500 * kMillisecond;  ///< steps of 30 ns

  /// Waits for the stream and finds out what its time is on the host. Throws RunError.
  explicit EventClock(const c10::cuda::CUDAStream& stream);
  ~EventClock();
  EventClock(const EventClock&) = delete;
  EventClock& operator=(const EventClock&) = delete;

  /// The base for an event that is about to be recorded on `stream`. From any thread.
  std::size_t base(const c10::cuda::CUDAStream& stream);
  /// When `event` happened, which it has. From any thread.
  Nanos time(cudaEvent_t event, std::size_t base);
  /// Finds out once more what time it is on the host, on a stream that has nothing left to do: the two clocks drift
  /// apart by microseconds in a second. Times asked for from then on are corrected in proportion.
  void correct(const c10::cuda::CUDAStream& stream);

 private:
  struct Base {
    cudaEvent_t event = nullptr;
    Nanos recorded = 0;    ///< by the host
    Nanos happened = -1;   ///< -1: not known yet
  };
  static Base anchor(const c10::cuda::CUDAStream& stream);
  static Nanos between(cudaEvent_t from, cudaEvent_t to);
  Nanos happened(std::size_t base);
  void await(std::size_t base);

  std::mutex mutex_;
  std::deque<Base> bases_;  ///< on the GPU's clock, whose zero is the first one's host time
  double drift_ = 0;        ///< of the host's clock per time of the GPU's
};

}  // namespace bubblescope
