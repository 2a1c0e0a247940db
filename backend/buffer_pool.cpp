// Buffers by size class: four classes for each power of two.
#include "backend/buffer_pool.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace bubblescope {

/// Outlives the pool while buffers are out.
class BufferPool::Shelf {
 public:
  explicit Shelf(std::int64_t most_kept) : most_kept_(most_kept) {}
  ~Shelf() { clear(); }
  Shelf(const Shelf&) = delete;
  Shelf& operator=(const Shelf&) = delete;

  void* take(std::int64_t size) {
    {
      const std::lock_guard lock(mutex_);
      auto& unused = unused_[class_of(size)];
      if (!unused.empty()) {
        void* const memory = unused.back();  // the one used last: it may still be in a cache
        unused.pop_back();
        kept_ -= size;
        return memory;
      }
    }
    void* const memory = std::aligned_alloc(kAlignment, static_cast<std::size_t>(size));
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
  }

  void give_back(void* memory, std::int64_t size) noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (kept_ + size <= most_kept_ && try_keep(memory, size)) return;
    }
    std::free(memory);
  }

  /// Nothing is kept any more.
  void close() {
    const std::lock_guard lock(mutex_);
    most_kept_ = -1;
    clear();
  }

  std::int64_t kept() const {
    const std::lock_guard lock(mutex_);
    return kept_;
  }

 private:
  /// Of a rounded size: its highest bit and the two that follow.
  static std::size_t class_of(std::int64_t size) {
    const auto bits = static_cast<std::uint64_t>(size);
    const auto highest = static_cast<std::size_t>(std::bit_width(bits)) - 1;
    return 4 * highest + static_cast<std::size_t>(bits >> (highest - 2) & 3);
  }

  bool try_keep(void* memory, std::int64_t size) noexcept {
    try {
      unused_[class_of(size)].push_back(memory);
    } catch (const std::bad_alloc&) {
      return false;
    }
    kept_ += size;
    return true;
  }

  void clear() {
    for (auto& buffers : unused_) {
      for (void* const memory : buffers) std::free(memory);
      buffers.clear();
    }
    kept_ = 0;
  }

  mutable std::mutex mutex_;
  std::int64_t most_kept_;
  std::int64_t kept_ = 0;
  std::array<std::vector<void*>, 4 * 64> unused_;  ///< by class
};

BufferPool::BufferPool(std::int64_t most_kept) : shelf_(std::make_shared<Shelf>(most_kept)) {}
BufferPool::~BufferPool() { shelf_->close(); }

std::int64_t BufferPool::rounded(std::int64_t bytes) {
  constexpr auto kLeast = static_cast<std::uint64_t>(kAlignment);
  const auto wanted = std::max(static_cast<std::uint64_t>(bytes), kLeast);
  const std::uint64_t step = std::max(std::bit_floor(wanted) / 4, kLeast);
  return static_cast<std::int64_t>((wanted + step - 1) / step * step);
}

std::shared_ptr<void> BufferPool::take(std::int64_t bytes) {
  const std::int64_t size = rounded(bytes);
  void* const memory = shelf_->take(size);
  // Should the shared_ptr itself find no memory, it calls this, too.
  return {memory, [shelf = shelf_, size](void* given) { shelf->give_back(given, size); }};
}

std::int64_t BufferPool::kept() const { return shelf_->kept(); }

}  // namespace bubblescope
