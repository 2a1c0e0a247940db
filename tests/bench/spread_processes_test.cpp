// Work spread over processes comes back in order, whoever did it; errors and stops end it everywhere.
#include "bench/spread_processes.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "sim/core/error.hpp"
#include "tests/backend/faulty_transport.hpp"
#include "tests/backend/thread_processes.hpp"
#include "tests/backend/thread_transport.hpp"

namespace bubblescope {
namespace {

/// What every process's spread returned, or threw.
struct Outcome {
  std::vector<std::string> results;
  std::string input_error, run_error;
};

std::vector<Outcome> spread(std::int32_t processes, std::int64_t count, const Work& work, const std::vector<SpreadOptions>& options) {
  auto transports = thread_transports(processes, {.most_delay = 200'000, .seed = 7});
  std::vector<Outcome> outcomes(static_cast<std::size_t>(processes));
  std::vector<std::thread> threads;
  for (std::size_t p = 0; p < outcomes.size(); ++p) {
    threads.emplace_back([&, p] {
      World world(std::move(transports[p]));
      try {
        outcomes[p].results = spread_over_processes(world)(count, work, options[p]);
      } catch (const InputError& error) {
        outcomes[p].input_error = error.what();
      } catch (const RunError& error) {
        outcomes[p].run_error = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

std::string squared(std::int64_t i) { return std::to_string(i * i); }

TEST(SpreadOverProcesses, gives_the_first_process_all_results_in_order_and_each_piece_is_done_once) {
  for (const std::int32_t processes : {1, 2, 4}) {
    for (const std::int64_t count : {0, 1, 3, 257}) {
      std::mutex mutex;
      std::multiset<std::int64_t> done;
      std::int64_t told = 0;
      const Work work = [&](std::int64_t i) {
        const std::lock_guard lock(mutex);
        done.insert(i);
        return squared(i);
      };
      std::vector<SpreadOptions> options(static_cast<std::size_t>(processes), SpreadOptions{.threads = 2});
      options.front().done = [&] { ++told; };
      const auto outcomes = spread(processes, count, work, options);
      ASSERT_EQ(static_cast<std::int64_t>(outcomes.front().results.size()), count) << processes;
      for (std::int64_t i = 0; i < count; ++i) EXPECT_EQ(outcomes.front().results[static_cast<std::size_t>(i)], squared(i));
      for (std::size_t p = 1; p < outcomes.size(); ++p) EXPECT_TRUE(outcomes[p].results.empty());
      EXPECT_EQ(static_cast<std::int64_t>(done.size()), count);
      EXPECT_EQ(std::set<std::int64_t>(done.begin(), done.end()).size(), done.size());
      EXPECT_EQ(told, count) << "of " << processes << " processes";
    }
  }
}

TEST(SpreadOverProcesses, every_process_takes_part) {
  std::mutex mutex;
  std::set<std::thread::id> workers;
  const Work work = [&](std::int64_t i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const std::lock_guard lock(mutex);
    workers.insert(std::this_thread::get_id());
    return squared(i);
  };
  EXPECT_EQ(spread(3, 60, work, std::vector<SpreadOptions>(3)).front().results.size(), 60u);
  EXPECT_GE(workers.size(), 3u);
}

TEST(SpreadOverProcesses, throws_what_a_piece_threw_in_the_first_process) {
  const Work input = [](std::int64_t i) -> std::string {
    if (i == 40) throw InputError("piece 40");
    return squared(i);
  };
  const Work run = [](std::int64_t i) -> std::string {
    if (i >= 5) throw std::runtime_error("piece " + std::to_string(i));
    return squared(i);
  };
  const auto of_input = spread(3, 100, input, std::vector<SpreadOptions>(3));
  EXPECT_EQ(of_input.front().input_error, "piece 40");
  const auto of_run = spread(2, 100, run, std::vector<SpreadOptions>(2));
  EXPECT_EQ(of_run.front().run_error, "piece 5");
  for (const auto* outcomes : {&of_input, &of_run}) {
    for (std::size_t p = 1; p < outcomes->size(); ++p) EXPECT_TRUE((*outcomes)[p].input_error.empty() && (*outcomes)[p].run_error.empty());
  }
}

TEST(SpreadOverProcesses, a_stop_in_any_process_ends_all_with_the_first_results_without_gaps) {
  for (const std::size_t who : {0u, 1u}) {
    std::atomic<bool> stop{false};
    std::atomic<int> late{0};
    const Work work = [&](std::int64_t i) {
      late += stop.load();
      if (i == 20) stop = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return squared(i);
    };
    std::vector<SpreadOptions> options(2);
    options[who].stop = &stop;
    const auto outcomes = spread(2, 10'000, work, options);
    ASSERT_LT(outcomes.front().results.size(), 10'000u) << "process " << who;
    EXPECT_LT(late, 300) << "process " << who;  // runs have up to 1250
    for (std::size_t i = 0; i < outcomes.front().results.size(); ++i) EXPECT_EQ(outcomes.front().results[i], squared(static_cast<std::int64_t>(i)));
  }
}

/// Process 1 is lost while process 0 is at the 100th piece of its first run, which has 1250. What both threw, and process 0's results.
std::vector<std::string> lose_one(const SpreadOptions& options_of_first, std::vector<std::string>& results) {
  ThreadProcesses processes(2);
  return processes.run([&](World& world) {
    if (!world.first()) std::this_thread::sleep_for(std::chrono::milliseconds(50));  // process 0's run is the first one
    const Work work = [&](std::int64_t i) {
      if (world.first() && i == 100) processes.lose("process 1 is gone");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return squared(i);
    };
    auto got = spread_over_processes(world)(10'000, work, world.first() ? options_of_first : SpreadOptions{});
    if (world.first()) results = std::move(got);
  });
}

TEST(SpreadOverProcesses, where_a_process_is_lost_the_first_results_are_kept) {
  std::vector<std::string> results;
  std::string why;
  EXPECT_THAT(lose_one({.lost = [&](const std::string& reason) { why = reason; }}, results), testing::ElementsAre("", "process 1 is gone"));
  EXPECT_EQ(why, "process 1 is gone");
  EXPECT_EQ(results.size(), 101u);  // no piece was begun afterwards
  for (std::size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i], squared(static_cast<std::int64_t>(i)));
}

TEST(SpreadOverProcesses, where_nothing_can_be_sent_any_more_the_first_results_are_kept) {
  std::vector<Faults> faults(2);
  ThreadProcesses processes(faulty(thread_transports(2, {.most_delay = 100 * kMicrosecond, .seed = 1}), faults));
  std::vector<std::string> results;
  std::string why;
  std::atomic<bool> stop{false};
  const SpreadOptions options{.stop = &stop, .lost = [&](const std::string& reason) { why = reason; }};
  const auto thrown = processes.run([&](World& world) {
    if (!world.first()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const Work work = [&](std::int64_t i) {
      if (world.first() && i == 100) faults[0].send = stop = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return squared(i);
    };
    auto got = spread_over_processes(world)(10'000, work, world.first() ? options : SpreadOptions{});
    if (!world.first()) return;
    results = std::move(got);
    EXPECT_EQ(world.why_lost(), "nothing can be sent");  // a lifeline tells the others
    processes.lose("process 0 is gone");
  });
  EXPECT_THAT(thrown, testing::ElementsAre("", "process 0 is gone"));
  EXPECT_EQ(why, "nothing can be sent");
  EXPECT_EQ(results.size(), 101u);
}

TEST(SpreadOverProcesses, where_a_process_is_lost_and_nobody_is_to_be_told_it_is_thrown) {
  std::vector<std::string> results;
  EXPECT_THAT(lose_one({}, results), testing::Each("process 1 is gone"));
}

}  // namespace
}  // namespace bubblescope
