// Work spread over threads: order, stops, failures.
#include "bench/spread.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <stdexcept>
#include <thread>

namespace bubblescope {
namespace {

std::vector<std::string> spread(std::int64_t count, const Work& work, const SpreadOptions& options) { return spread_over_threads(count, work, options); }

TEST(SpreadOverThreads, results_stand_in_the_order_of_their_numbers) {
  for (const int threads : {1, 2, 7, 100}) {
    const auto results = spread(50, [](std::int64_t i) {
      if (i % 7 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      return std::to_string(i);
    }, {.threads = threads});
    ASSERT_EQ(results.size(), 50u);
    for (std::size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i], std::to_string(i));
  }
  EXPECT_TRUE(spread(0, [](std::int64_t) { return std::string("x"); }, {.threads = 3}).empty());
}

// Each of two pieces waits until the other has begun.
TEST(SpreadOverThreads, pieces_run_at_the_same_time) {
  std::atomic<int> begun{0};
  const auto results = spread(2, [&](std::int64_t) {
    ++begun;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (begun.load() < 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    return std::to_string(begun.load());
  }, {.threads = 2});
  EXPECT_EQ(results, (std::vector<std::string>{"2", "2"}));
}

TEST(SpreadOverThreads, one_thread_is_the_callers) {
  std::set<std::thread::id> threads;
  spread(5, [&](std::int64_t) {
    threads.insert(std::this_thread::get_id());
    return std::string();
  }, {.threads = 1});
  EXPECT_EQ(threads, std::set{std::this_thread::get_id()});
}

TEST(SpreadOverThreads, after_a_stop_the_first_results_are_there_without_gaps) {
  for (const int threads : {1, 3}) {
    std::atomic<bool> stop{false};
    const auto results = spread(1000, [&](std::int64_t i) {
      if (i == 20) stop = true;
      return std::to_string(i);
    }, {.threads = threads, .stop = &stop});
    ASSERT_GE(results.size(), 21u);
    ASSERT_LT(results.size(), 1000u);
    for (std::size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i], std::to_string(i));
  }
}

TEST(SpreadOverThreads, the_failure_of_the_lowest_number_is_thrown_after_all_have_ended) {
  for (const int threads : {1, 2, 5}) {
    std::atomic<int> at_work{0};
    try {
      spread(100, [&](std::int64_t i) -> std::string {
        ++at_work;
        // The lowest one fails last.
        if (i == 10) std::this_thread::sleep_for(std::chrono::milliseconds(20));
        --at_work;
        if (i >= 10) throw std::runtime_error(std::to_string(i));
        return {};
      }, {.threads = threads});
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "10");
      EXPECT_EQ(at_work.load(), 0);
    }
  }
}

TEST(SpreadOverThreads, every_piece_is_told_of_once_and_never_two_at_a_time) {
  int calls = 0;  // no atomic: the calls must not overlap
  spread(500, [](std::int64_t) { return std::string(); }, {.threads = 4, .done = [&] { ++calls; }});
  EXPECT_EQ(calls, 500);
}

}  // namespace
}  // namespace bubblescope
