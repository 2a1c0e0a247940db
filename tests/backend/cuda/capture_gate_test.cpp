// Captures and submissions exclude each other.
#include "backend/cuda/capture_gate.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace bubblescope {
namespace {

TEST(CaptureGate, nobody_else_submits_while_one_captures) {
  std::atomic<int> submitting{0}, captures{0};
  std::atomic<bool> capturing{false}, broken{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        const Submitting mine;
        ++submitting;
        if (capturing) broken = true;
        if (i % 100 == t) {
          --submitting;  // this thread's own does not count
          {
            const Capturing alone;
            capturing = true;
            std::this_thread::yield();
            if (submitting != 0) broken = true;
            ++captures;
            capturing = false;
          }
          ++submitting;
        }
        --submitting;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(broken);
  EXPECT_EQ(captures, 4 * 20);
}

TEST(CaptureGate, submissions_nest_and_captures_need_none) {
  { const Capturing alone; }
  const Submitting outer;
  const Submitting inner;
  { const Capturing alone; }
  std::thread([] { const Submitting other; }).join();
}

}  // namespace
}  // namespace bubblescope
