// Working together: nobody ends before all have done their part, in one process or several.
#include "backend/overlap.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/backend/faulty_transport.hpp"
#include "tests/backend/thread_processes.hpp"

namespace bubblescope {
namespace {

using testing::Each;

struct Worked {
  Nanos came = 0;
  Nanos begun = 0;
  Nanos part_done = 0;
  Nanos ended = 0;
};

/// One rank: its part takes some time, then it goes on.
Worked work(Overlap& overlap, Nanos late, Nanos part) {
  wait_until(steady_now() + late);
  Worked worked{.came = steady_now()};
  Overlap::Member member(overlap);
  worked.begun = steady_now();
  wait_until(worked.begun + part);
  worked.part_done = steady_now();
  member.done();
  while (overlap.goes_on()) std::this_thread::yield();
  worked.ended = steady_now();
  return worked;
}

std::vector<Worked> work_together(Overlap& overlap, const std::vector<std::pair<Nanos, Nanos>>& ranks) {
  std::vector<Worked> all(ranks.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    threads.emplace_back([&, i] { all[i] = work(overlap, ranks[i].first, ranks[i].second); });
  }
  for (std::thread& thread : threads) thread.join();
  return all;
}

Nanos latest(const std::vector<Worked>& all, Nanos Worked::*time) {
  Nanos last = 0;
  for (const Worked& worked : all) last = std::max(last, worked.*time);
  return last;
}

TEST(Overlap, ranks_of_a_process_begin_together_and_go_on_until_all_are_done) {
  Overlap overlap(nullptr, 3, 1);
  const std::vector<Worked> all = work_together(overlap, {{0, kMillisecond}, {5 * kMillisecond, 10 * kMillisecond}, {kMillisecond, 0}});
  const auto [from, to] = overlap.times();
  for (const Worked& worked : all) {
    EXPECT_GE(worked.begun, latest(all, &Worked::came));
    EXPECT_GE(worked.ended, latest(all, &Worked::part_done));
    EXPECT_GE(worked.ended, to);
  }
  EXPECT_GE(from, latest(all, &Worked::came));
  EXPECT_LE(from, latest(all, &Worked::begun));
  EXPECT_GE(to, latest(all, &Worked::part_done));
}

TEST(Overlap, ranks_of_all_processes_go_on_until_all_are_done_and_agree_when_that_was) {
  for (const std::int32_t processes : {2, 3}) {
    std::vector<std::vector<Worked>> all(static_cast<std::size_t>(processes));
    std::vector<std::pair<Nanos, Nanos>> times(all.size());
    const auto thrown = ThreadProcesses(processes).run([&](World& world) {
      const auto p = static_cast<std::size_t>(world.process());
      world.compare_clocks();
      for (int round = 0; round < 5; ++round) {
        Overlap overlap(&world, 2, processes);
        all[p] = work_together(overlap, {{0, kMillisecond}, {world.process() * kMillisecond, (world.process() + 1) * kMillisecond}});
        times[p] = overlap.times();
        world.barrier();
        // Of the comparison of clocks; all have one.
        constexpr Nanos kOff = 5 * kMillisecond;
        for (const auto& theirs : all) {
          EXPECT_GE(latest(all[p], &Worked::ended), latest(theirs, &Worked::part_done));
          EXPECT_LE(times[p].first, times[p].second);
          EXPECT_GE(times[p].second, latest(theirs, &Worked::part_done) - kOff);
        }
        for (const auto& other : times) {
          EXPECT_LT(std::abs(other.first - times[p].first), kOff);
          EXPECT_LT(std::abs(other.second - times[p].second), kOff);
        }
        world.barrier();
      }
    });
    EXPECT_THAT(thrown, Each(""));
  }
}

TEST(Overlap, a_process_without_ranks_takes_no_part_but_knows_when_it_was) {
  std::vector<std::pair<Nanos, Nanos>> times(3);
  const auto thrown = ThreadProcesses(3).run([&](World& world) {
    world.compare_clocks();
    const std::int32_t here = world.process() == 1 ? 0 : 1;
    Overlap overlap(&world, here, 2);
    if (here > 0) work_together(overlap, {{0, 2 * kMillisecond}});
    times[static_cast<std::size_t>(world.process())] = overlap.times();
  });
  EXPECT_THAT(thrown, Each(""));
  EXPECT_NEAR(static_cast<double>(times[1].first), static_cast<double>(times[0].first), 5e6);
  EXPECT_NEAR(static_cast<double>(times[1].second), static_cast<double>(times[2].second), 5e6);
  EXPECT_GE(times[1].second, times[1].first);
}

TEST(Overlap, a_rank_that_fails_leaves_the_others_no_longer_at_work) {
  const auto thrown = ThreadProcesses(2).run([](World& world) {
    Overlap overlap(&world, 1, 2);
    if (world.process() == 1) {
      EXPECT_THROW(([&] {
                     const Overlap::Member member(overlap);
                     throw std::runtime_error("broken");
                   }()),
                   std::runtime_error);
    } else {
      work_together(overlap, {{0, 0}});
    }
    overlap.times();
  });
  EXPECT_THAT(thrown, Each(""));
}

TEST(Overlap, a_rank_that_cannot_tell_the_others_loses_them) {
  std::array<Faults, 2> faults;
  ThreadProcesses processes(faulty(thread_transports(2), faults));
  const auto thrown = processes.run([&](World& world) {
    Overlap overlap(&world, 1, 2);
    world.barrier();
    if (world.first()) return;
    {
      const Overlap::Member member(overlap);
      faults[1].send = true;
    }
    EXPECT_TRUE(world.lost());
    EXPECT_THROW(overlap.goes_on(), LostError);
    processes.lose("process 1 has ended");
  });
  EXPECT_THAT(thrown, Each(""));
}

}  // namespace
}  // namespace bubblescope
