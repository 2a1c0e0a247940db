// The common end of all ranks.
#include "backend/run_control.hpp"

#include <algorithm>
#include <utility>

namespace bubblescope {

RunControl::RunControl(std::int64_t walks, const std::atomic<bool>* stop, std::span<Bell> bells) : walks_(walks), stop_(stop), bells_(bells) {}

bool RunControl::begin(std::int64_t walk) {
  if (failed()) throw Aborted{};
  const std::lock_guard lock(mutex_);
  if (!stopped_ && stop_ != nullptr && stop_->load(std::memory_order_relaxed) && begun_ < walks_) {
    stopped_ = true;
    walks_ = begun_;
  }
  if (walk >= walks_) return false;
  begun_ = std::max(begun_, walk + 1);
  return true;
}

std::int64_t RunControl::walks() const {
  const std::lock_guard lock(mutex_);
  return walks_;
}

bool RunControl::stopped() const {
  const std::lock_guard lock(mutex_);
  return stopped_;
}

void RunControl::fail(std::string message) {
  {
    const std::lock_guard lock(mutex_);
    if (failed()) return;
    failure_ = std::move(message);
    failed_.store(true, std::memory_order_release);
  }
  for (Bell& bell : bells_) bell.ring();
}

void RunControl::sleep_until(Nanos deadline) const {
  constexpr Nanos kSlice = 20 * kMillisecond;
  for (Nanos now = steady_now(); now < deadline; now = steady_now()) {
    if (failed()) throw Aborted{};
    wait_until(std::min(deadline, now + kSlice));
  }
}

}  // namespace bubblescope
