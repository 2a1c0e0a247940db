// An allocator around LibTorch's own.
#include "backend/torch/allocations.hpp"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <ATen/ops/record_stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>

#include <algorithm>
#include <memory>

namespace bubblescope {
namespace {

struct Count {
  std::int64_t live = 0;
  std::int64_t peak = 0;
  bool of_host = true;

  void add(std::int64_t bytes, bool host) {
    if (host != of_host) return;
    live += bytes;
    peak = std::max(peak, live);
  }
};
thread_local Count count;

/// What the allocators of other devices report. The host's are counted by the allocator below.
class DeviceReports : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device device) override {
    if (!device.is_cpu()) count.add(size, false);
  }
  bool memoryProfilingEnabled() const override { return true; }
};

class CountingAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* memory = c10::alloc_cpu(bytes);
    // The size is asked of malloc both times: what is freed has only its address.
    count.add(static_cast<std::int64_t>(malloc_usable_size(memory)), true);
    return {memory, memory, &release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }

 private:
  static void release(void* memory) {
    count.add(-static_cast<std::int64_t>(malloc_usable_size(memory)), true);
    c10::free_cpu(memory);
  }
};

}  // namespace

void keep_for_this_stream(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return;
  const c10::Device device = tensor.device();
  tensor.record_stream(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
}

void count_allocations() {
  static CountingAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

AllocationScope::AllocationScope(const c10::Device& device) {
  count = {.of_host = device.is_cpu()};
  // LibTorch's profiler tells its own part where it is on.
  if (!device.is_cpu() && c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE) == nullptr) reports_.emplace(c10::DebugInfoKind::PROFILER_STATE, std::make_shared<DeviceReports>());
}
std::int64_t AllocationScope::live() const { return count.live; }
std::int64_t AllocationScope::peak() const { return count.peak; }

}  // namespace bubblescope
