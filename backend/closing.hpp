// How transports end: once all that was sent anywhere has been handed over there.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
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

/// How long to wait for others. Only time in which this process itself runs counts: of a job that is suspended and resumed
/// nobody is late.
class Patience {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kLook{100};  ///< at the latest after so long is to be asked again

  explicit Patience(std::chrono::milliseconds limit, Clock::time_point now = Clock::now()) : limit_(limit), looked_(now) {}
  void renew(Clock::time_point now = Clock::now()) {
    waited_ = {};
    looked_ = now;
  }
  bool over(Clock::time_point now = Clock::now()) {
    waited_ += std::min<Clock::duration>(now - looked_, 5 * kLook);  // more: it was stopped in between
    looked_ = now;
    return waited_ >= limit_;
  }

 private:
  Clock::duration limit_;
  Clock::duration waited_{};
  Clock::time_point looked_;
};

/// Polls until `ready`. Throws RunError where nothing moves for `limit`.
template <class Ready>
void poll_until(Transport& transport, std::chrono::milliseconds limit, const Ready& ready) {
  Patience patience(limit);
  for (int idle = 0; !ready(); ++idle) {
    if (transport.poll()) {
      idle = 0;
      patience.renew();
    } else if (idle < 100) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      const std::chrono::duration<double> seconds = limit;
      if (patience.over()) throw RunError(fmt::format("{} waited {:g} s for the other processes to end", transport.name(), seconds.count()));
    }
  }
}

/// `exchange`: tells everybody this process's totals and returns those of all together; collective. Throws RunError where
/// nothing is handed over for `limit` and yet not all was: something was lost on its way, or never left.
template <class Exchange>
void await_all_parcels(std::chrono::milliseconds limit, const Exchange& exchange) {
  // Totals are of slightly different times at different processes: only where two rounds agree nothing was between them.
  ParcelTotals before{-1, -1};
  Patience patience(limit);
  for (ParcelTotals now = exchange(); now.handed_over != now.sent || now != before; now = exchange()) {
    if (now != before) patience.renew();
    if (patience.over()) throw RunError(fmt::format("{} parcels were sent, but {} have come", now.sent, now.handed_over));
    before = now;
  }
}

/// While it lives: ends this process where what follows takes longer than kClosePatience, because it waits without end for a
/// process that is stopped. All has been said to the others by then, so nothing is lost.
class EndInTime {
 public:
  /// `what` ends. Of several processes, which would say the same, `process` 0 is to be the first, so that the launcher ends
  /// the others before they do.
  EndInTime(std::string what, std::int32_t process) : watch_([this, what = std::move(what), process] {
    std::unique_lock lock(mutex_);
    for (Patience patience(kClosePatience + std::min(process, 4) * std::chrono::milliseconds(500)); !patience.over();) {
      if (ended_.wait_for(lock, Patience::kLook, [this] { return done_; })) return;
    }
    std::fprintf(stderr, "bubblescope: %s did not end in time: a process was stopped when all was done\n", what.c_str());
    std::fflush(nullptr);
    std::_Exit(EXIT_FAILURE);
  }) {}
  ~EndInTime() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    ended_.notify_one();
    watch_.join();
  }
  EndInTime(const EndInTime&) = delete;
  EndInTime& operator=(const EndInTime&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool done_ = false;
  std::thread watch_;  // uses what stands above
};

}  // namespace bubblescope
