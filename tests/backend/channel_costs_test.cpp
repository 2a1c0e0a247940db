// Messages and barriers between two processes: what is measured of them, alike in both, and that a failure ends it in both.
#include "backend/channel_costs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/clock.hpp"
#include "backend/null.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"
#include "tests/backend/thread_processes.hpp"

namespace bubblescope {
namespace {

using testing::Each;

Program stages_on(std::int32_t ranks) { return make_program("", ranks, 1, placement_loop(ranks, 1)); }

// Parcels are under way for up to 2 ms, so for 1 ms on average; two threads wake each other besides.
TEST(ChannelCosts, messages_of_every_size_are_timed_one_way_and_both_ways_alike_in_all_processes) {
  for (const std::int32_t each : {1, 2}) {
    std::vector<MessageTimes> all(2);
    std::vector<Quartiles> barriers(2);
    std::atomic<int> computed{0};
    const auto thrown = ThreadProcesses(2, {.most_delay = 2 * kMillisecond, .seed = 8}).run([&](World& world) {
      NullBackend backend{StageCosts(2 * each)};
      Ranks ranks(backend, stages_on(2 * each), {}, &world);
      all[at(world.process())] = measure_messages(ranks, {0, 1}, std::array<std::int64_t, 3>{0, 1000, 1'000'000}, {20, kSecond / 2}, [&](Rank rank, Device&) {
        EXPECT_EQ(rank, 0);
        ++computed;
      });
      barriers[at(world.process())] = measure_barriers(ranks, 20);
    });
    EXPECT_THAT(thrown, Each(""));
    EXPECT_EQ(all[0].one_way, all[1].one_way);
    EXPECT_EQ(all[0].both_ways, all[1].both_ways);
    EXPECT_EQ(barriers[0], barriers[1]);
    EXPECT_GE(computed, 3 * (5 + 5));
    EXPECT_LE(computed, 3 * (5 + 20));
    EXPECT_EQ(barriers[0].count, 20);
    EXPECT_GT(barriers[0].median, 100 * kMicrosecond);
    for (const auto* transfers : {&all[0].one_way, &all[0].both_ways}) {
      ASSERT_EQ(transfers->size(), 3u);
      for (std::size_t i = 0; i < 3; ++i) {
        const Quartiles& time = (*transfers)[i].time;
        EXPECT_EQ((*transfers)[i].bytes, (std::array<std::int64_t, 3>{0, 1000, 1'000'000}[i]));
        EXPECT_GE(time.count, transfers == &all[0].one_way ? 5 : 10);
        EXPECT_GT(time.median, 100 * kMicrosecond);
        EXPECT_LE(time.first, time.third);
      }
    }
  }
}

// A message takes 20 ms, whatever goes the other way. One that was sent while the one before is under way would take 40.
TEST(ChannelCosts, both_ways_at_once_no_message_waits_for_the_one_before) {
  MessageTimes costs;
  const auto thrown = ThreadProcesses(2, {.per_mebibyte = 20 * kMillisecond}).run([&](World& world) {
    NullBackend backend(StageCosts(2), {.bodies = true});
    Ranks ranks(backend, stages_on(2), {}, &world);
    const MessageTimes found = measure_messages(ranks, {0, 1}, std::array<std::int64_t, 1>{1 << 20}, {10, kSecond}, [](Rank, Device&) {});
    if (world.first()) costs = found;
  });
  EXPECT_THAT(thrown, Each(""));
  for (const auto* transfers : {&costs.one_way, &costs.both_ways}) {
    ASSERT_EQ(transfers->size(), 1u);
    EXPECT_GE(transfers->front().time.median, 20 * kMillisecond);
    EXPECT_LT(transfers->front().time.median, 32 * kMillisecond);
  }
}

TEST(ChannelCosts, messages_between_any_two_processes) {
  std::vector<MessageTimes> all(3);
  std::atomic<int> computed{0};
  const auto thrown = ThreadProcesses(3).run([&](World& world) {
    NullBackend backend{StageCosts(6)};
    Ranks ranks(backend, stages_on(6), {}, &world);
    all[at(world.process())] = measure_messages(ranks, {1, 2}, std::array<std::int64_t, 1>{1000}, {5, kSecond}, [&](Rank rank, Device&) {
      EXPECT_EQ(rank, 2) << "the first of process 1";
      ++computed;
    });
  });
  EXPECT_THAT(thrown, Each(""));
  EXPECT_EQ(all[0], all[1]);
  EXPECT_EQ(all[0], all[2]);
  EXPECT_EQ(all[0].one_way.at(0).time.count, 5);
  EXPECT_EQ(all[0].both_ways.at(0).time.count, 10);
  EXPECT_EQ(computed, 5 + 5);
}

TEST(ChannelCosts, the_first_two_processes_on_one_host_and_on_two) {
  using Two = std::pair<std::int32_t, std::int32_t>;
  EXPECT_EQ(first_two({"a"}, true), std::nullopt);
  EXPECT_EQ(first_two({"a"}, false), std::nullopt);
  EXPECT_EQ(first_two({"a", "a"}, true), Two(0, 1));
  EXPECT_EQ(first_two({"a", "a"}, false), std::nullopt);
  EXPECT_EQ(first_two({"a", "b", "b", "c"}, true), Two(1, 2));
  EXPECT_EQ(first_two({"a", "a", "b"}, false), Two(0, 2));
}

/// One rank's device has no room for messages.
class FullBackend : public NullBackend {
 public:
  explicit FullBackend(Rank full) : NullBackend(StageCosts(4)), full_(full) {}
  std::unique_ptr<Device> device(Rank rank, const Program& program) override {
    if (rank != full_) return NullBackend::device(rank, program);
    struct Full final : Device {
      void execute(const Op&) override {}
      Payload output(const Op&) override { return {}; }
      void input(const Op&, Payload) override {}
      Payload example(const Op&) override { return {}; }
      Payload message(std::int64_t bytes) override { throw RunError("no room for " + std::to_string(bytes) + " bytes"); }
    };
    return std::make_unique<Full>();
  }

 private:
  Rank full_;
};

std::string failure_of(Ranks& ranks, const std::function<void(Rank, Device&)>& compute) {
  try {
    measure_messages(ranks, {0, 1}, std::array<std::int64_t, 1>{1000}, {1'000'000, kSecond}, compute);
  } catch (const LostError& error) {
    return std::string("lost: ") + error.what();
  } catch (const RunError& error) {
    return error.what();
  }
  return "no failure";
}

TEST(ChannelCosts, a_device_that_fails_fails_all_processes) {
  for (const Rank failing : {0, 2}) {
    const auto thrown = ThreadProcesses(2).run([failing](World& world) {
      FullBackend backend(failing);
      Ranks ranks(backend, stages_on(4), {}, &world);
      EXPECT_THAT(failure_of(ranks, [](Rank, Device&) {}), testing::StartsWith("no room for "));
      world.barrier();
    });
    EXPECT_THAT(thrown, Each(""));
  }
}

TEST(ChannelCosts, work_that_fails_meanwhile_fails_all_processes) {
  const auto thrown = ThreadProcesses(2).run([](World& world) {
    NullBackend backend{StageCosts(4)};
    Ranks ranks(backend, stages_on(4), {}, &world);
    EXPECT_EQ(failure_of(ranks, [](Rank, Device&) { throw RunError("broken"); }), "broken");
    world.barrier();
  });
  EXPECT_THAT(thrown, Each(""));
}

TEST(ChannelCosts, a_process_that_is_lost_ends_it_in_all) {
  ThreadProcesses processes(2);
  std::atomic<bool> begun{false};
  std::thread end([&] {
    while (!begun) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    processes.lose("process 1 was killed");
  });
  const auto thrown = processes.run([&](World& world) {
    NullBackend backend{StageCosts(4)};
    Ranks ranks(backend, stages_on(4), {}, &world);
    EXPECT_EQ(failure_of(ranks, [&](Rank, Device&) { begun = true; }), "lost: process 1 was killed");
  });
  end.join();
  EXPECT_THAT(thrown, Each(""));
}

}  // namespace
}  // namespace bubblescope
