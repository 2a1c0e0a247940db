// How transports end: once all that was sent anywhere has been handed over there.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>

#include "backend/transport.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

/// All processes come to close together (World's barrier), so who does nothing for so long is gone or stopped.
inline constexpr std::chrono::milliseconds kClosePatience{6'000};

/// Parcels handed over and sent so far, by one process or by all.
struct ParcelTotals {
  std::int64_t handed_over = 0;
  std::int64_t sent = 0;
  bool operator==(const ParcelTotals&) const = default;
};

/// Counts those of one process. Any thread.
class ParcelCounts {
 public:
  /// Before it can be handed over.
  void count_sent() { sent_.fetch_add(1, std::memory_order_relaxed); }
  /// It counts only once the handler is through, so that nothing seems to be over while that is about to answer; and then
  /// also where it throws.
  void hand_over(const Transport::Handler& handler, std::int32_t from, Parcel parcel) {
    const Through through{handed_over_};
    handler(from, std::move(parcel));
  }
  ParcelTotals totals() const { return {handed_over_.load(), sent_.load()}; }

 private:
  struct Through {
    std::atomic<std::int64_t>& count;
    ~Through() { count.fetch_add(1, std::memory_order_relaxed); }
  };
  std::atomic<std::int64_t> sent_{0};
  std::atomic<std::int64_t> handed_over_{0};
};

/// Polls until `ready`. Throws RunError where nothing moves for `patience`.
template <class Ready>
void poll_until(Transport& transport, std::chrono::milliseconds patience, const Ready& ready) {
  auto deadline = std::chrono::steady_clock::now() + patience;
  for (int idle = 0; !ready(); ++idle) {
    if (transport.poll()) {
      idle = 0;
      deadline = std::chrono::steady_clock::now() + patience;
    } else if (idle < 100) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      const std::chrono::duration<double> seconds = patience;
      if (std::chrono::steady_clock::now() > deadline) throw RunError(fmt::format("{} waited {:g} s for the other processes to end", transport.name(), seconds.count()));
    }
  }
}

/// `exchange`: tells everybody this process's totals and returns those of all together; collective.
template <class Exchange>
void await_all_parcels(const Exchange& exchange) {
  // Totals are of slightly different times at different processes: only where two rounds agree nothing was between them.
  ParcelTotals before{-1, -1};
  for (ParcelTotals now = exchange(); now.handed_over != now.sent || now != before; now = exchange()) before = now;
}

}  // namespace bubblescope
