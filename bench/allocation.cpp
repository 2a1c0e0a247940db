// How the programs use memory; libraries do not decide this.
//  * Large arrays lie on huge pages where the system lets programs choose (madvise). Simulating a
//    million ops touches some 200 MB for the first time, and faults of 4 KiB took a third of the time.
//  * What was freed is kept. Tensors of a few MiB come and go with every op; given back to the system
//    each time, their page faults slow ops down, and by an amount that changes from run to run. Faults take
//    a third to three quarters of the time in which a new process simulates ten million ops.
#include <malloc.h>
#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kLarge = 2 * kHugePage;

[[gnu::constructor]] void keep_freed_memory() {
  mallopt(M_MMAP_MAX, 0);  // arrays of over 32 MiB, too, are kept
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, 64 << 20);
  mallopt(M_ARENA_MAX, 1);  // arenas of threads give memory back whatever the thresholds say
}

}  // namespace

void* operator new(std::size_t size) {
  if (size >= kLarge) {
    const std::size_t whole = (size + kHugePage - 1) / kHugePage * kHugePage;
    if (whole >= size) {  // did not wrap around
      if (void* const memory = std::aligned_alloc(kHugePage, whole)) {
        madvise(memory, whole, MADV_HUGEPAGE);  // a wish: a refusal costs nothing
        return memory;
      }
    }
  } else if (void* const memory = std::malloc(size == 0 ? 1 : size)) {
    return memory;
  }
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
