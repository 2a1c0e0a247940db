// An allocator around LibTorch's own.
#include "backend/torch/allocations.hpp"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>

#include <algorithm>

namespace bubblescope {
namespace {

struct Count {
  std::int64_t live = 0;
  std::int64_t peak = 0;
};
thread_local Count count;

class CountingAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* memory = c10::alloc_cpu(bytes);
    // The size is asked of malloc both times: what is freed has only its address.
    count.live += static_cast<std::int64_t>(malloc_usable_size(memory));
    count.peak = std::max(count.peak, count.live);
    return {memory, memory, &release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }

 private:
  static void release(void* memory) {
    count.live -= static_cast<std::int64_t>(malloc_usable_size(memory));
    c10::free_cpu(memory);
  }
};

}  // namespace

void count_allocations() {
  static CountingAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

AllocationScope::AllocationScope() { count = {}; }
std::int64_t AllocationScope::live() const { return count.live; }
std::int64_t AllocationScope::peak() const { return count.peak; }

}  // namespace bubblescope
