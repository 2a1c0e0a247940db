// Buffers come back and are used again; what is kept is bounded.
#include "backend/buffer_pool.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace bubblescope {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

std::int64_t minor_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

TEST(BufferPool, rounds_up_to_at_most_a_quarter_more) {
  EXPECT_EQ(BufferPool::rounded(0), 64);
  EXPECT_EQ(BufferPool::rounded(64), 64);
  EXPECT_EQ(BufferPool::rounded(65), 128);
  EXPECT_EQ(BufferPool::rounded(6 * kMiB), 6 * kMiB);
  EXPECT_EQ(BufferPool::rounded(6 * kMiB + 1), 7 * kMiB);
  for (std::int64_t bytes = 1; bytes < (std::int64_t{1} << 40); bytes = bytes * 9 / 8 + 1) {
    const std::int64_t size = BufferPool::rounded(bytes);
    EXPECT_GE(size, bytes);
    EXPECT_LE(size, bytes + std::max<std::int64_t>(bytes / 4, 64));
    EXPECT_EQ(size % 64, 0);
    EXPECT_EQ(BufferPool::rounded(size), size);
  }
}

TEST(BufferPool, gives_the_same_memory_again) {
  BufferPool pool;
  auto buffer = pool.take(6 * kMiB);
  const void* const memory = buffer.get();
  EXPECT_EQ(pool.kept(), 0);
  buffer.reset();
  EXPECT_EQ(pool.kept(), 6 * kMiB);
  EXPECT_NE(pool.take(5 * kMiB).get(), memory) << "another class";
  EXPECT_EQ(pool.take(6 * kMiB - 5).get(), memory);
}

TEST(BufferPool, each_size_has_memory_of_its_own) {
  BufferPool pool;
  const std::vector<std::int64_t> sizes{4 * kMiB, 5 * kMiB, 6 * kMiB, 7 * kMiB, 8 * kMiB, 64, 128, 192, 256, 320, 384};
  std::vector<std::shared_ptr<void>> buffers;
  std::vector<const void*> memory;
  for (const std::int64_t size : sizes) memory.push_back(buffers.emplace_back(pool.take(size)).get());
  buffers.clear();
  for (std::size_t i = 0; i < sizes.size(); ++i) EXPECT_EQ(buffers.emplace_back(pool.take(sizes[i])).get(), memory[i]) << sizes[i];
}

TEST(BufferPool, does_not_fault_pages_again) {
  BufferPool pool;
  std::memset(pool.take(64 * kMiB).get(), 1, 64 * kMiB);
  const std::int64_t before = minor_faults();
  for (int i = 0; i < 10; ++i) std::memset(pool.take(64 * kMiB).get(), i, 64 * kMiB);
  EXPECT_LT(minor_faults() - before, 64 * kMiB / 4096 / 2);
}

TEST(BufferPool, buffers_are_aligned_and_apart) {
  BufferPool pool;
  std::vector<std::shared_ptr<void>> buffers;
  for (std::int64_t bytes = 0; bytes < 5000; bytes += 37) {
    buffers.push_back(pool.take(bytes));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffers.back().get()) % BufferPool::kAlignment, 0U);
    std::memset(buffers.back().get(), static_cast<int>(bytes % 251), static_cast<std::size_t>(bytes));
  }
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const auto bytes = static_cast<std::int64_t>(37 * i);
    const auto* const data = static_cast<const unsigned char*>(buffers[i].get());
    for (std::int64_t b = 0; b < bytes; ++b) ASSERT_EQ(data[b], bytes % 251);
  }
}

TEST(BufferPool, keeps_no_more_than_it_may) {
  BufferPool pool(10 * kMiB);
  auto a = pool.take(6 * kMiB), b = pool.take(6 * kMiB), c = pool.take(4 * kMiB);
  a.reset();
  b.reset();
  EXPECT_EQ(pool.kept(), 6 * kMiB);
  c.reset();
  EXPECT_EQ(pool.kept(), 10 * kMiB);
}

TEST(BufferPool, may_go_before_its_buffers) {
  std::optional<BufferPool> pool(std::in_place);
  auto kept = pool->take(100);
  pool->take(100);
  pool.reset();
  std::memset(kept.get(), 1, 100);
  kept.reset();  // a leak or a use of what is gone is the sanitizers' to find
}

TEST(BufferPool, threads_take_and_give_back) {
  BufferPool pool;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 2000; ++i) {
        const auto buffer = pool.take(4000);
        std::memset(buffer.get(), t, 4000);
        EXPECT_EQ(static_cast<const char*>(buffer.get())[3999], t);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(pool.kept(), 4 * BufferPool::rounded(4000));
}

}  // namespace
}  // namespace bubblescope
