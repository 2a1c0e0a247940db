// Waiting: sleeps to absolute points in time and bounded polling.
#include "backend/clock.hpp"

#include <sys/prctl.h>
#include <time.h>

#include <cerrno>

namespace bubblescope {
namespace {

/// Tells the core that this is a polling loop.
void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

void wait_until(Nanos deadline, Nanos spin) {
  const Nanos sleep = deadline - spin;
  if (sleep > steady_now()) {
    // steady_clock is CLOCK_MONOTONIC.
    const timespec at{static_cast<time_t>(sleep / kSecond), static_cast<long>(sleep % kSecond)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR) {
    }
  }
  while (steady_now() < deadline) relax();
}

void use_exact_timers() { prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); }

void Bell::wait(int ticket, Nanos spin) const {
  if (spin > 0) {
    const Nanos until = steady_now() + spin;
    do {
      for (int i = 0; i < 16; ++i) {
        if (count_.load(std::memory_order_acquire) != ticket) return;
        relax();
      }
    } while (steady_now() < until);
  }
  count_.wait(ticket, std::memory_order_acquire);
}

}  // namespace bubblescope
