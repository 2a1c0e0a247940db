// The common end of all ranks.
#include "backend/run_control.hpp"

#include <algorithm>
#include <exception>

namespace bubblescope {

RunControl::RunControl(std::int64_t walks, const std::atomic<bool>* stop, std::span<Bell> bells, RemoteControls* remote)
    : walks_(walks), stop_(stop), bells_(bells), remote_(remote) {}

bool RunControl::begin(std::int64_t walk, const Bell& bell, Nanos spin) {
  bool begins = false;
  if (failed()) throw Aborted{};
  await(bell, spin, [&] { return decide(walk, begins); });
  return begins;
}

/// Whether it is known whether the walk begins; then `begins` says it.
bool RunControl::decide(std::int64_t walk, bool& begins) {
  const std::lock_guard lock(mutex_);
  if (!wanted_ && stop_ != nullptr && stop_->load(std::memory_order_relaxed) && begun_ < walks_) {
    wanted_ = true;
    if (remote_ == nullptr) {
      stopped_ = true;
      walks_ = begun_;
    } else if (!remote_->first()) {
      remote_->stop_wanted();
    } else {
      freeze();
    }
  }
  if (frozen_ && walk >= begun_) return false;
  begins = walk < walks_;
  if (begins) begun_ = std::max(begun_, walk + 1);
  return true;
}

/// Process 0: asks everybody how far they are.
void RunControl::freeze() {
  if (frozen_ || stopped_) return;
  frozen_ = wanted_ = true;
  answers_ = 1;
  farthest_ = begun_;
  remote_->freeze();
  if (answers_ == remote_->processes()) end_at(farthest_);  // there is nobody else
}

void RunControl::end_at(std::int64_t walks) {
  stopped_ = walks < walks_;
  walks_ = walks;
  frozen_ = false;
}

void RunControl::told_stop_wanted() {
  const std::lock_guard lock(mutex_);
  freeze();
}

void RunControl::told_freeze() {
  const std::lock_guard lock(mutex_);
  frozen_ = wanted_ = true;
  remote_->begun(begun_);
}

void RunControl::told_begun(std::int64_t walks) {
  {
    const std::lock_guard lock(mutex_);
    farthest_ = std::max(farthest_, walks);
    if (++answers_ < remote_->processes()) return;
    remote_->end_at(farthest_);
    end_at(farthest_);
  }
  for (Bell& bell : bells_) bell.ring();
}

void RunControl::told_end_at(std::int64_t walks) {
  {
    const std::lock_guard lock(mutex_);
    end_at(walks);
  }
  for (Bell& bell : bells_) bell.ring();
}

void RunControl::poll_until_rung(const Bell& bell, int ticket, Nanos spin) const {
  for (Nanos until = steady_now() + spin; spin > 0 && steady_now() < until;) {
    if (bell.ticket() != ticket) return;
    remote_->poll();
  }
  if (bell.ticket() != ticket) return;
  remote_->attend(1);
  bell.wait(ticket, 0);
  remote_->attend(-1);
}

std::int64_t RunControl::walks() const {
  const std::lock_guard lock(mutex_);
  return walks_;
}

bool RunControl::stopped() const {
  const std::lock_guard lock(mutex_);
  return stopped_;
}

void RunControl::fail(const std::string& message) {
  const bool is_known = failed();
  told_failure(message);
  if (remote_ == nullptr || is_known) return;
  try {
    remote_->failed(message);
  } catch (const std::exception&) {  // whoever polls finds out what is wrong there
  }
}

void RunControl::told_failure(const std::string& message) {
  {
    const std::lock_guard lock(mutex_);
    if (failed()) return;
    failure_ = message;
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
