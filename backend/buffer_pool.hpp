// Memory that bodies of parcels are received into, used again and again: fresh memory of some MiB costs a page fault for
// every 4 KiB, which is more than the copy itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace bubblescope {

/// Any thread. The pool may go before its buffers do.
class BufferPool {
 public:
  static constexpr std::size_t kAlignment = 64;

  /// `most_kept`: bytes of unused buffers that are kept; what is given back beyond that is freed.
  explicit BufferPool(std::int64_t most_kept = std::int64_t{256} << 20);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// At least `bytes` (which may be 0) of memory with any content; the last one to drop it gives it back.
  std::shared_ptr<void> take(std::int64_t bytes);
  /// Bytes of unused buffers.
  std::int64_t kept() const;
  /// What a buffer for `bytes` takes: at most a quarter more, or 64 bytes.
  static std::int64_t rounded(std::int64_t bytes);

 private:
  class Shelf;
  std::shared_ptr<Shelf> shelf_;
};

}  // namespace bubblescope
