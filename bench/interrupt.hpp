// Ctrl-C: the first one asks for a clean stop, the second one ends the process at once.
#pragma once

#include <atomic>

namespace bubblescope {

/// Handles SIGINT and SIGTERM while it lives.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  const std::atomic<bool>* flag() const;
};

/// Whether one came to the last Interrupt.
bool interrupted();

}  // namespace bubblescope
