// Counts what LibTorch allocates for tensors, thread by thread: what autograd keeps for a backward
// is known to nobody else.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <optional>

namespace bubblescope {

/// The calling thread's current stream reads memory that another stream's work made: it is not given out again
/// before this stream is done with what it has been given so far. Nothing to do on the CPU.
void keep_for_this_stream(const at::Tensor& tensor);

/// Has LibTorch allocate memory of the host through a counter from now on, process-wide. May be called again and again.
void count_allocations();

/// Bytes of `device` that the calling thread allocates and frees from construction on. What another thread frees
/// is not subtracted. Scopes of a thread do not nest.
class AllocationScope {
 public:
  explicit AllocationScope(const c10::Device& device);
  std::int64_t live() const;  ///< allocated less freed; below zero where older memory was freed
  std::int64_t peak() const;  ///< largest live() so far, at least 0

 private:
  std::optional<c10::DebugInfoGuard> reports_;  ///< where LibTorch's own allocator tells what it does
};

}  // namespace bubblescope
