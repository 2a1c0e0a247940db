// Signal handling for clean stops.
#include "bench/interrupt.hpp"

#include <csignal>
#include <cstdlib>

namespace bubblescope {
namespace {

// A signal handler reaches nothing but statics.
std::atomic<bool> asked_to_stop{false};

void on_signal(int) {
  if (asked_to_stop.exchange(true)) std::_Exit(130);
}

}  // namespace

Interrupt::Interrupt() {
  asked_to_stop = false;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

Interrupt::~Interrupt() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

const std::atomic<bool>* Interrupt::flag() const { return &asked_to_stop; }

bool interrupted() { return asked_to_stop; }

}  // namespace bubblescope
