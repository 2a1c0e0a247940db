// A shared mutex that lets those who wait for it alone come in first.
#include "backend/cuda/capture_gate.hpp"

namespace bubblescope {
namespace {

std::shared_mutex gate;
std::mutex turn;  // held by who waits for the gate alone, so that no more come in
thread_local Submitting* innermost = nullptr;

}  // namespace

Submitting::Submitting() : outer_(innermost) {
  if (outer_ == nullptr) enter();
  innermost = this;
}

Submitting::~Submitting() { innermost = outer_; }

void Submitting::enter() {
  const std::lock_guard wait(turn);
  lock_.emplace(gate);
}

Capturing::Capturing() {
  for (Submitting* mine = innermost; mine != nullptr; mine = mine->outer_) mine->lock_.reset();
  const std::lock_guard wait(turn);
  lock_ = std::unique_lock(gate);
}

Capturing::~Capturing() {
  lock_.unlock();
  for (Submitting* mine = innermost; mine != nullptr; mine = mine->outer_) {
    if (mine->outer_ == nullptr) mine->enter();
  }
}

}  // namespace bubblescope
