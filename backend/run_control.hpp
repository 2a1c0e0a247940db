// What the ranks of one execution share: when they end, and how they fail together.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>

#include "backend/clock.hpp"
#include "sim/core/op.hpp"

namespace bubblescope {

/// Thrown on ranks that end because another one failed; never leaves the executor.
struct Aborted {};

/// Decides how many walks of the rows there are, the same for all ranks, and carries a failure to all.
class RunControl {
 public:
  /// `stop` may be null; it and `bells` must outlive this.
  RunControl(std::int64_t walks, const std::atomic<bool>* stop, std::span<Bell> bells);

  /// Whether a rank is to begin its walk number `walk`. Once `stop` is set, the walks that some rank
  /// has begun are the last, so nobody waits for an entry that is never sent.
  bool begin(std::int64_t walk);
  std::int64_t walks() const;
  bool stopped() const;

  /// Records the first failure and wakes everyone.
  void fail(std::string message);
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  const std::string& failure() const { return failure_; }

  /// Waits until `ready()`, which is looked at again whenever `bell` rings; returns whether it had to.
  /// Throws Aborted when another rank fails.
  template <class Ready>
  bool await(const Bell& bell, Nanos spin, Ready ready) const {
    if (ready()) return false;
    while (true) {
      const int ticket = bell.ticket();
      if (failed()) throw Aborted{};
      if (ready()) return true;
      bell.wait(ticket, spin);
    }
  }

  /// Sleeps until `deadline`; throws Aborted soon after another rank failed.
  void sleep_until(Nanos deadline) const;

 private:
  mutable std::mutex mutex_;
  std::int64_t walks_;
  std::int64_t begun_ = 0;
  bool stopped_ = false;
  const std::atomic<bool>* stop_;
  std::span<Bell> bells_;
  std::atomic<bool> failed_{false};
  std::string failure_;
};

}  // namespace bubblescope
