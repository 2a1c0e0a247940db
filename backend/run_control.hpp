// What the ranks of one execution share: when they end, and how they fail together.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>

#include "backend/clock.hpp"
#include "sim/core/op.hpp"

namespace bubblescope {

/// Thrown on ranks that end because another one failed; never leaves the executor.
struct Aborted {};

/// How the controls of one execution in other processes are reached, which are told the same. Process 0's collects
/// what the others say. All but `poll` must not wait, and all but `attend`, `poll` and `failed` are called with the control
/// locked. Those that say something throw RunError where it cannot be sent.
class RemoteControls {
 public:
  virtual ~RemoteControls() = default;
  virtual bool first() const = 0;               ///< whether this is process 0
  virtual std::int32_t processes() const = 0;
  virtual void stop_wanted() = 0;               ///< to process 0
  virtual void freeze() = 0;                    ///< process 0 to all others
  virtual void begun(std::int64_t walks) = 0;   ///< to process 0
  virtual void end_at(std::int64_t walks) = 0;  ///< process 0 to all others
  virtual void failed(const std::string& message) = 0;  ///< to all others
  virtual void attend(int more) = 0;            ///< so many more threads sleep until something comes (World::attend)
  virtual bool poll() = 0;                      ///< moves on what is under way; whether there was anything
};

/// Decides how many walks of the rows there are, the same for all ranks, and carries a failure to all.
class RunControl {
 public:
  /// `stop` may be null; it, `bells` and `remote` must outlive this. `remote`: null where all ranks are in this process.
  RunControl(std::int64_t walks, const std::atomic<bool>* stop, std::span<Bell> bells, RemoteControls* remote = nullptr);

  /// Whether a rank is to begin its walk number `walk`. Once `stop` is set, the walks that some rank
  /// has begun are the last, so nobody waits for an entry that is never sent. Over processes this may take until all
  /// have said how far they are.
  bool begin(std::int64_t walk, const Bell& bell, Nanos spin);
  std::int64_t walks() const;
  bool stopped() const;

  /// Records the first failure and wakes everyone, here and, as far as they can be told, in other processes. Never throws.
  void fail(const std::string& message);
  /// What other processes' controls say.
  void told_stop_wanted();
  void told_freeze();
  void told_begun(std::int64_t walks);
  void told_end_at(std::int64_t walks);
  void told_failure(const std::string& message);
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
      if (remote_ == nullptr) {
        bell.wait(ticket, spin);
      } else {
        poll_until_rung(bell, ticket, spin);
      }
    }
  }

  /// Sleeps until `deadline`; throws Aborted soon after another rank failed.
  void sleep_until(Nanos deadline) const;

 private:
  bool decide(std::int64_t walk, bool& begins);
  void poll_until_rung(const Bell& bell, int ticket, Nanos spin) const;
  void freeze();
  void end_at(std::int64_t walks);

  mutable std::mutex mutex_;
  std::int64_t walks_;
  std::int64_t begun_ = 0;
  bool stopped_ = false;
  const std::atomic<bool>* stop_;
  std::span<Bell> bells_;
  RemoteControls* remote_;
  bool wanted_ = false;  ///< the end, and process 0 knows
  bool frozen_ = false;  ///< nobody begins a walk that no rank here has begun
  std::int32_t answers_ = 0;  ///< process 0, while frozen: how many have said how far they are
  std::int64_t farthest_ = 0;
  std::atomic<bool> failed_{false};
  std::string failure_;
};

}  // namespace bubblescope
