// The backends' clock: steady nanoseconds, waiting for a point in time, and bells to wake a thread.
#pragma once

#include <atomic>
#include <chrono>

#include "sim/core/time.hpp"

namespace bubblescope {

/// Nanoseconds of the steady clock.
inline Nanos steady_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Sleeps until `deadline` of the steady clock; the last `spin` nanoseconds are polled, not slept.
void wait_until(Nanos deadline, Nanos spin = 0);

/// Lets timers of the calling thread fire as exactly as the system can (Linux rounds by 50 us else).
void use_exact_timers();

/// Wakes one thread. The waiter takes a ticket, looks whether it has to wait, and waits for a ring
/// after that ticket, so no ring is lost between looking and waiting.
class Bell {
 public:
  int ticket() const { return count_.load(std::memory_order_acquire); }
  void ring() {
    count_.fetch_add(1);
    count_.notify_all();
  }
  /// Returns once it was rung after `ticket`; polls for `spin` nanoseconds before it sleeps.
  void wait(int ticket, Nanos spin) const;

 private:
  alignas(64) std::atomic<int> count_{0};
};

}  // namespace bubblescope
