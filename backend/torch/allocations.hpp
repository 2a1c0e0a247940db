// Counts what LibTorch allocates for CPU tensors, thread by thread: what autograd keeps for a backward
// is known to nobody else.
#pragma once

#include <cstdint>

namespace bubblescope {

/// Has LibTorch allocate through a counter from now on, process-wide. May be called again and again.
void count_allocations();

/// Bytes that the calling thread allocates and frees from construction on. What another thread frees
/// is not subtracted. Scopes of a thread do not nest.
class AllocationScope {
 public:
  AllocationScope();
  std::int64_t live() const;  ///< allocated less freed; below zero where older memory was freed
  std::int64_t peak() const;  ///< largest live() so far, at least 0
};

}  // namespace bubblescope
