// The ranks' threads: devices live and die on them, and failures come back whole.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "backend/executor.hpp"
#include "backend/null.hpp"
#include "sim/core/error.hpp"
#include "tests/backend/thread_processes.hpp"

namespace bubblescope {
namespace {

/// Remembers on which thread each thing happened.
struct Places {
  std::vector<std::thread::id> made, destroyed;
  std::atomic<int> under_way{0};
  int most_at_once = 0;
};

class PlacedDevice : public Device {
 public:
  PlacedDevice(Places& places, Rank rank) : places_(places), rank_(rank) {}
  ~PlacedDevice() override { places_.destroyed[static_cast<std::size_t>(rank_)] = std::this_thread::get_id(); }
  void execute(const Op&) override {}
  Payload output(const Op&) override { return {}; }
  void input(const Op&, Payload) override {}
  Payload example(const Op&) override { return {}; }

 private:
  Places& places_;
  Rank rank_;
};

class PlacedBackend : public Backend {
 public:
  PlacedBackend(Places& places, Rank failing = -1) : places_(places), failing_(failing) {}
  std::string name() const override { return "placed"; }
  std::unique_ptr<Device> device(Rank rank, const Program&) override {
    places_.most_at_once = std::max(places_.most_at_once, ++places_.under_way);
    std::this_thread::yield();
    --places_.under_way;
    if (rank == failing_) throw RunError("no memory for rank 1");
    places_.made[static_cast<std::size_t>(rank)] = std::this_thread::get_id();
    return std::make_unique<PlacedDevice>(places_, rank);
  }

 private:
  Places& places_;
  Rank failing_;
};

TEST(Ranks, make_use_and_destroy_each_device_on_the_ranks_own_thread) {
  Places places;
  places.made.resize(3);
  places.destroyed.resize(3);
  PlacedBackend backend(places);
  std::vector<std::thread::id> used(3);
  {
    Ranks ranks(backend, make_program("", 3, 1, placement_loop(3, 1)), {});
    EXPECT_EQ(ranks.count(), 3);
    ranks.each([&](Rank rank, Device&) { used[static_cast<std::size_t>(rank)] = std::this_thread::get_id(); });
  }
  EXPECT_EQ(used, places.made);
  EXPECT_EQ(places.destroyed, places.made);
  EXPECT_NE(used[0], used[1]);
  EXPECT_NE(used[0], std::this_thread::get_id());
  EXPECT_EQ(places.most_at_once, 1);
}

TEST(Ranks, a_device_that_cannot_be_made_ends_the_others) {
  Places places;
  places.made.resize(3);
  places.destroyed.resize(3);
  PlacedBackend backend(places, 1);
  EXPECT_THROW(Ranks(backend, make_program("", 3, 1, placement_loop(3, 1)), {}), RunError);
  EXPECT_EQ(places.destroyed[0], places.made[0]);
}

TEST(Ranks, rethrow_the_first_failure_by_rank_after_all_have_ended) {
  Places places;
  places.made.resize(3);
  places.destroyed.resize(3);
  PlacedBackend backend(places);
  Ranks ranks(backend, make_program("", 3, 1, placement_loop(3, 1)), {});
  std::atomic<int> ended{0};
  try {
    ranks.each([&](Rank rank, Device&) {
      ++ended;
      if (rank > 0) throw std::runtime_error(std::to_string(rank));
    });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "1");
  }
  EXPECT_EQ(ended, 3);
  ranks.each([&](Rank, Device&) { ++ended; });  // and go on working
  EXPECT_EQ(ended, 6);
}

/// Over processes: what each of them throws, where each rank may throw something.
std::vector<std::string> thrown_by_each(std::int32_t processes, const std::function<void(Rank)>& work) {
  std::vector<std::string> all(static_cast<std::size_t>(processes));
  const auto thrown = ThreadProcesses(processes).run([&](World& world) {
    NullBackend backend{StageCosts(4)};
    Ranks ranks(backend, make_program("", 4, 1, placement_loop(4, 1)), {}, &world);
    EXPECT_EQ(ranks.count(), 4);
    EXPECT_EQ(ranks.own().count(), 4 / processes);
    EXPECT_EQ(ranks.own().first, world.process() * (4 / processes));
    for (int round = 0; round < 3; ++round) {
      EXPECT_EQ(ranks.any(world.process() == 1), true);
      EXPECT_EQ(ranks.any(false), false);
      try {
        ranks.each([&](Rank rank, Device&) {
          EXPECT_TRUE(ranks.own().holds(rank));
          work(rank);
        });
      } catch (const InputError& error) {
        all[static_cast<std::size_t>(world.process())] = std::string("input: ") + error.what();
      } catch (const CommonError& error) {
        all[static_cast<std::size_t>(world.process())] = std::string("run: ") + error.what();
      }
    }
  });
  EXPECT_THAT(thrown, testing::Each(""));
  return all;
}

TEST(Ranks, over_processes_all_throw_the_first_failure_and_go_on_together) {
  using testing::Each;
  for (const std::int32_t processes : {2, 4}) {
    EXPECT_THAT(thrown_by_each(processes, [](Rank) {}), Each(""));
    EXPECT_THAT(thrown_by_each(processes, [](Rank rank) {
                  if (rank > 0) throw RunError("rank " + std::to_string(rank));
                }),
                Each("run: rank 1"));
    EXPECT_THAT(thrown_by_each(processes, [](Rank rank) {
                  if (rank == 3) throw InputError("bad");
                }),
                Each("input: bad"));
    EXPECT_THAT(thrown_by_each(processes, [](Rank rank) {
                  if (rank == 3) throw std::bad_alloc();
                }),
                Each("run: std::bad_alloc"));
    EXPECT_THAT(thrown_by_each(processes, [](Rank rank) {
                  if (rank == 2) throw 5;
                }),
                Each("run: an error of unknown type"));
  }
}

TEST(Ranks, over_processes_a_device_that_cannot_be_made_is_everybodys_failure) {
  const auto thrown = ThreadProcesses(2).run([](World& world) {
    Places places;
    places.made.resize(4);
    places.destroyed.resize(4);
    PlacedBackend backend(places, 1);
    EXPECT_THROW(Ranks(backend, make_program("", 4, 1, placement_loop(4, 1)), {}, &world), RunError);
    world.barrier();
  });
  EXPECT_THAT(thrown, testing::Each(""));
}

TEST(Ranks, cores_that_are_not_there_are_named) {
  Places places;
  places.made.resize(1);
  places.destroyed.resize(1);
  PlacedBackend backend(places);
  const Program program = make_program("", 1, 1, placement_loop(1, 1));
  EXPECT_THROW(Ranks(backend, program, {{-1}}), InputError);
  EXPECT_THROW(Ranks(backend, program, {{100'000}}), InputError);
  EXPECT_THROW(Ranks(backend, program, {{1023}}), InputError);  // a number the system accepts
}

}  // namespace
}  // namespace bubblescope
