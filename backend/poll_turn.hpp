// Of several threads that poll a transport at a time one does it.
#pragma once

#include <atomic>
#include <thread>

namespace bubblescope {

/// The right to poll, where it was free, until this goes.
class PollTurn {
 public:
  explicit PollTurn(std::atomic_flag& taken) : taken_(taken), mine_(!taken.test_and_set(std::memory_order_acquire)) {}
  ~PollTurn() {
    if (mine_) taken_.clear(std::memory_order_release);
  }
  PollTurn(const PollTurn&) = delete;
  PollTurn& operator=(const PollTurn&) = delete;
  bool mine() const { return mine_; }

  /// Waits for it and never gives it back: nobody polls any more.
  static void keep(std::atomic_flag& taken) {
    while (taken.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
  }

 private:
  std::atomic_flag& taken_;
  bool mine_;
};

}  // namespace bubblescope
