// What processes do together, with threads for processes and parcels that overtake one another.
#include "backend/world.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/backend/faulty_transport.hpp"
#include "tests/backend/thread_processes.hpp"
#include "tests/backend/together.hpp"

namespace bubblescope {
namespace {

using testing::Each;
using testing::HasSubstr;

/// What a process says in a round: everybody can tell what it must be.
std::string saying(std::int32_t process, int round) {
  std::mt19937 random(static_cast<std::uint32_t>(1000 * round + process));
  constexpr std::array<std::size_t, 6> kSizes{0, 1, 1024, 1025, 70'000, 5'000'000};
  std::string text(kSizes[random() % (round % 20 == 7 ? 6 : 5)], static_cast<char>('a' + process));
  if (!text.empty()) text.back() = static_cast<char>(round);
  return text;
}

std::vector<std::string> all_sayings(std::int32_t processes, int round) {
  std::vector<std::string> all;
  for (std::int32_t p = 0; p < processes; ++p) all.push_back(saying(p, round));
  return all;
}

TEST(World, looks_for_what_comes_often_while_somebody_sleeps_and_seldom_while_all_compute) {
  std::vector<Faults> faults(2);
  ThreadProcesses processes(faulty(thread_transports(2, {}), faults));
  const auto thrown = processes.run([&](World& world) {
    world.barrier();
    auto& polls = faults[static_cast<std::size_t>(world.process())].polls;
    const auto polls_per_second = [&] {
      const Nanos begin = steady_now();
      const std::int64_t before = polls;
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      return static_cast<double>(polls - before) * kSecond / static_cast<double>(steady_now() - begin);
    };
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const double seldom = polls_per_second();  // pauses of 1 ms, and of 30 us
    world.attend(1);
    const double often = polls_per_second();
    world.attend(-1);
    EXPECT_LT(seldom, 1100);
    EXPECT_GT(often, 2 * seldom);
    world.barrier();
  });
  EXPECT_THAT(thrown, Each(""));
}

TEST(World, gathers_and_tells_what_all_have_to_say_of_any_size) {
  for (const std::int32_t processes : {1, 2, 3, 4}) {
    const auto thrown = ThreadProcesses(processes).run([&](World& world) {
      ASSERT_EQ(world.processes(), processes);
      for (int round = 0; round < 40; ++round) {
        const std::vector<std::string> all = all_sayings(processes, round);
        const std::string mine = saying(world.process(), round);
        switch ((round + round / 7) % 4) {
          case 0: ASSERT_TRUE(world.gather(mine) == (world.first() ? all : std::vector<std::string>())) << round; break;
          case 1: ASSERT_TRUE(world.broadcast(mine) == all.front()) << round; break;
          case 2: ASSERT_TRUE(world.gather_all(mine) == all) << round; break;
          default: {
            const int who = round % (2 * processes);  // nobody in half of the rounds
            ASSERT_EQ(world.any(who == world.process()), who < processes) << round;
          }
        }
      }
    });
    EXPECT_THAT(thrown, Each(""));
  }
}

// Who does not wait runs ahead by many rounds; what is gathered of each stays apart.
TEST(World, processes_may_be_far_ahead_of_the_first) {
  const auto thrown = ThreadProcesses(3, {.most_delay = kMillisecond, .seed = 5}).run([](World& world) {
    if (world.first()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    for (int round = 0; round < 100; ++round) {
      const auto all = world.gather(std::to_string(round) + "/" + std::to_string(world.process()));
      for (std::size_t p = 0; p < all.size(); ++p) ASSERT_EQ(all[p], std::to_string(round) + "/" + std::to_string(p));
    }
  });
  EXPECT_THAT(thrown, Each(""));
}

TEST(World, nobody_leaves_a_barrier_before_all_have_come) {
  std::atomic<int> came{0};
  const auto thrown = ThreadProcesses(4).run([&](World& world) {
    for (int round = 1; round <= 30; ++round) {
      ++came;
      world.barrier();
      EXPECT_GE(came, 4 * round);
    }
  });
  EXPECT_THAT(thrown, Each(""));
}

TEST(World, ranks_are_spread_evenly_neighbours_together) {
  EXPECT_EQ(ranks_of_process(0, 2, 4).first, 0);
  EXPECT_EQ(ranks_of_process(0, 2, 4).last, 2);
  EXPECT_EQ(ranks_of_process(3, 4, 8).first, 6);
  EXPECT_EQ(ranks_of_process(3, 4, 8).count(), 2);
  EXPECT_FALSE(ranks_of_process(1, 2, 4).holds(1));
  EXPECT_TRUE(ranks_of_process(1, 2, 4).holds(3));
  EXPECT_FALSE(ranks_of_process(1, 2, 4).holds(4));
  try {
    ranks_of_process(0, 4, 6);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "6 ranks cannot be shared evenly among 4 processes; expected one of 1, 2, 3, 6 processes");
  }
  EXPECT_THROW(ranks_of_process(0, 8, 4), InputError);
  EXPECT_THROW(ranks_of_process(0, 0, 4), InputError);
}

/// Everyone sends everyone else numbers in a session; what comes is counted by sender and number.
TEST(World, what_is_sent_in_a_session_comes_once_with_its_body_one_call_at_a_time) {
  constexpr int kParcels = 60;
  const auto thrown = ThreadProcesses(3, {.most_delay = 300 * kMicrosecond, .seed = 2}).run([](World& world) {
    const std::int64_t session = world.new_session();
    std::atomic<int> inside{0}, came{0}, wrong{0}, left{0};
    std::vector<std::vector<int>> counts(3, std::vector<int>(kParcels, 0));
    world.open(
        session,
        [&](std::int32_t from, std::string_view head, Parcel& parcel) {
          if (++inside > 1) ++wrong;
          const int number = std::stoi(std::string(head));
          ++counts[static_cast<std::size_t>(from)][static_cast<std::size_t>(number)];
          const auto expected = static_cast<std::int64_t>(number) * 1000;
          if (parcel.bytes != expected) ++wrong;
          const auto* body = static_cast<const char*>(parcel.body.get());
          for (std::int64_t i = 0; i < std::min(expected, parcel.bytes); ++i) wrong += body[i] != static_cast<char>(number + from);
          --inside;
          ++came;
        },
        [] {});
    // Two threads send: a rank's own and another one's.
    const auto send = [&](int first) {
      for (int number = first; number < kParcels; number += 2) {
        for (std::int32_t to = 0; to < 3; ++to) {
          if (to == world.process()) continue;
          const auto body = std::make_shared<std::string>(static_cast<std::size_t>(number) * 1000, static_cast<char>(number + world.process()));
          world.send(session, to, std::to_string(number), number == 0 ? nullptr : std::shared_ptr<const void>(body, body->data()), number * 1000, [&left] { ++left; });
        }
      }
    };
    std::thread other(send, 1);
    send(0);
    other.join();
    world.wait([&] { return came == 2 * kParcels && left == 2 * kParcels; });
    world.barrier();
    EXPECT_EQ(wrong, 0);
    for (std::int32_t from = 0; from < 3; ++from) {
      EXPECT_THAT(counts[static_cast<std::size_t>(from)], Each(from == world.process() ? 0 : 1));
    }
    world.close(session);
  });
  EXPECT_THAT(thrown, Each(""));
}

TEST(World, what_comes_before_a_session_is_opened_waits_and_what_comes_after_it_was_closed_is_dropped) {
  for (const Nanos delay : {Nanos{0}, kMillisecond}) {
    const auto thrown = ThreadProcesses(2, {.most_delay = delay, .seed = 3}).run([](World& world) {
      const std::int32_t other = 1 - world.process();
      std::int64_t sessions[3];
      std::atomic<int> came[3] = {0, 0, 0};
      if (world.process() == 1) {
        // All there is to say is said before process 0 has given the sessions their numbers.
        for (auto& session : sessions) session = world.new_session();
        for (const std::int64_t session : sessions) {
          for (int i = 0; i < 20; ++i) world.send(session, other, "early");
        }
        world.barrier();
        world.barrier();
        for (int i = 0; i < 20; ++i) world.send(sessions[0], other, "late");
        for (int i = 0; i < 20; ++i) world.send(sessions[2], other, "in time");
        world.barrier();
      } else {
        world.barrier();
        for (auto& session : sessions) session = world.new_session();
        for (const std::size_t s : {2U, 0U}) {
          world.open(sessions[s], [&came, s](std::int32_t, std::string_view, Parcel&) { ++came[s]; }, [] {});
        }
        world.wait([&] { return came[0] == 20 && came[2] == 20; });
        world.close(sessions[0]);
        world.barrier();
        world.barrier();
        world.wait([&] { return came[2] == 40; });
        EXPECT_EQ(came[0], 20);
        world.close(sessions[1]);  // never opened
        world.close(sessions[2]);
      }
    });
    EXPECT_THAT(thrown, Each(""));
  }
}

TEST(World, after_a_session_was_closed_its_senders_are_not_told_that_anything_left) {
  const auto thrown = ThreadProcesses(2, {.most_delay = 5 * kMillisecond, .seed = 3}).run([](World& world) {
    std::atomic<bool> gone{false};
    std::atomic<int> told_after{0};
    const std::int64_t session = world.new_session();
    world.open(session, [](std::int32_t, std::string_view, Parcel&) {}, [] {});
    for (int i = 0; i < 50; ++i) {
      world.send(session, 1 - world.process(), "", nullptr, 0, [&] { told_after += gone; });
    }
    world.close(session);
    gone = true;
    world.barrier();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(told_after, 0);
  });
  EXPECT_THAT(thrown, Each(""));
}

// All have one clock, so what they take for the difference is their error.
TEST(World, clocks_are_compared_within_their_error) {
  const auto thrown = ThreadProcesses(3, {.most_delay = 200 * kMicrosecond, .seed = 4}).run([](World& world) {
    world.compare_clocks();
    world.watch_clocks(true);
    std::this_thread::sleep_for(std::chrono::milliseconds(350));
    world.compare_clocks();
    world.watch_clocks(false);
    const Nanos now = steady_now();
    EXPECT_EQ(world.to_own(world.to_common(now)), now);
    const Nanos own_offset = std::abs(world.to_common(now) - now);
    const auto offsets = world.gather(std::to_string(own_offset));
    if (!world.first()) return;
    EXPECT_EQ(own_offset, 0);
    EXPECT_TRUE(world.take_clock_samples(0).empty());
    for (std::int32_t p = 1; p < 3; ++p) {
      const std::vector<ClockSample> samples = world.take_clock_samples(p);
      EXPECT_GE(samples.size(), 2u * 40 + 2) << "questions between";
      const auto best = std::min_element(samples.begin(), samples.end(), [](const ClockSample& a, const ClockSample& b) { return a.error < b.error; });
      for (const ClockSample& sample : samples) EXPECT_LE(std::abs(sample.offset), sample.error);
      EXPECT_LT(best->error, 200 * kMicrosecond);
      EXPECT_LE(std::stoll(offsets[static_cast<std::size_t>(p)]), 2 * kMillisecond);
      const ClockFit fit = fit_clock(samples);
      EXPECT_LE(std::abs(fit.to_common(now) - now), fit.error);
      EXPECT_TRUE(world.take_clock_samples(p).empty());
    }
  });
  EXPECT_THAT(thrown, Each(""));
}

// The fit of an execution is of its own time: hours may lie between two.
TEST(World, comparisons_of_clocks_that_nobody_watches_are_forgotten_at_the_next) {
  const auto thrown = ThreadProcesses(3).run([](World& world) {
    world.compare_clocks();
    world.compare_clocks();
    world.barrier();
    for (std::int32_t p = 1; world.first() && p < 3; ++p) EXPECT_EQ(world.take_clock_samples(p).size(), 40u);
  });
  EXPECT_THAT(thrown, Each(""));
}

TEST(World, a_loss_wakes_everybody_who_waits_and_is_all_that_is_said_from_then_on) {
  ThreadProcesses processes(4);
  std::atomic<int> told{0};
  const Nanos begun = steady_now();
  const auto thrown = processes.run([&](World& world) {
    const std::int64_t session = world.new_session();
    world.open(session, [](std::int32_t, std::string_view, Parcel&) {}, [&] { ++told; });
    world.barrier();
    try {
      switch (world.process()) {
        case 0: world.gather("waits for all"); break;
        case 1: world.barrier(); break;
        case 2: world.wait([] { return false; }); break;
        default:
          std::this_thread::sleep_for(std::chrono::milliseconds(30));
          processes.lose("process 7 was killed");
          processes.lose("a later reason");
          world.barrier();
      }
      ADD_FAILURE() << "nothing was thrown";
    } catch (const LostError& error) {
      EXPECT_STREQ(error.what(), "process 7 was killed");
    }
    EXPECT_TRUE(world.lost());
    EXPECT_EQ(world.why_lost(), "process 7 was killed");
    EXPECT_THROW(world.check(), LostError);
    EXPECT_THROW(world.broadcast(""), LostError);
    EXPECT_THROW(world.poll(), LostError);
    EXPECT_THROW(world.compare_clocks(), LostError);
    bool told_now = false;
    const std::int64_t later = world.new_session();
    world.open(later, [](std::int32_t, std::string_view, Parcel&) {}, [&] { told_now = true; });
    EXPECT_TRUE(told_now) << "who opens a session afterwards";
    world.close(later);
    world.close(session);
  });
  EXPECT_THAT(thrown, Each(""));
  EXPECT_EQ(told, 4);
  EXPECT_LT(steady_now() - begun, 10 * kSecond);
}

TEST(World, a_transport_that_fails_is_a_loss) {
  class Broken final : public Transport {
   public:
    std::string name() const override { return "broken"; }
    std::int32_t processes() const override { return 2; }
    std::int32_t process() const override { return 0; }
    void set_handler(Handler) override {}
    void send(std::int32_t, Parcel, std::function<void()>) override {}
    bool poll() override { throw RunError("the network is down"); }
    bool busy() const override { return false; }
    void close() override { ADD_FAILURE() << "closed after a loss"; }
  };
  World world(std::make_unique<Broken>());
  EXPECT_THROW(world.barrier(), LostError);
  EXPECT_EQ(world.why_lost(), "the network is down");
}

/// Waits until the process has lost another one; why.
std::string lost_within(World& world, Nanos time) {
  const Nanos until = steady_now() + time;
  try {
    world.wait([&] { return steady_now() > until; });
    world.lose("nobody was lost");  // so that the test ends
  } catch (const LostError&) {
  }
  return world.why_lost();
}

TEST(World, a_parcel_of_nonsense_is_a_loss_that_says_so) {
  const std::vector<std::pair<std::string, std::string>> parcels{{std::string(1, '\0') + "abc", "shorter than it says"}, {"\x7f", "process 1 sent something of a kind that is not known"}};
  for (const auto& [head, why] : parcels) {
    auto transports = thread_transports(2);
    const auto sender = std::move(transports[1]);
    sender->set_handler([](std::int32_t, Parcel) {});
    World world(std::move(transports[0]));
    sender->send(0, {head, nullptr, 0}, {});
    EXPECT_THAT(lost_within(world, 10 * kSecond), HasSubstr(why));
  }
}

// Both ways: where it says that it ends early, and where it only goes.
TEST(World, a_process_whose_transport_fails_tells_the_others_why_it_ends) {
  std::array<Faults, 4> faults;
  std::vector<std::unique_ptr<World>> worlds;
  for (const std::size_t pair : {0U, 2U}) {
    for (auto& transport : faulty(thread_transports(2), std::span(faults).subspan(pair, 2))) worlds.push_back(std::make_unique<World>(std::move(transport)));
  }
  std::array<std::string, 4> why;
  EXPECT_THAT(on_each(4, [&](std::int32_t i) {
    const std::size_t w = at(i);
    World& world = *worlds[w];
    world.watch("process " + std::to_string(world.process()));
    world.barrier();
    faults[w].poll = world.process() == 1;
    why[w] = lost_within(world, 20 * kSecond);
    if (w == 1) world.end_early(why[w]);
    worlds[w].reset();
  }), Each(""));
  for (const std::size_t pair : {0U, 2U}) {
    EXPECT_EQ(why[pair + 1], "the network is down");
    EXPECT_EQ(why[pair], "process 1 ended early: the network is down");
  }
}

TEST(World, where_the_transport_fails_because_of_a_process_that_is_gone_the_lifeline_has_the_word) {
  for (const bool sending : {false, true}) {
    std::array<Faults, 2> faults;
    ThreadProcesses processes(faulty(thread_transports(2), faults));
    const auto thrown = processes.run([&](World& world) {
      world.watch("process " + std::to_string(world.process()));
      world.barrier();
      if (!world.first()) {
        (sending ? faults[0].send : faults[0].poll) = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        return world.end_early("the disk is full");
      }
      while (!faults[0].send && !faults[0].poll) std::this_thread::yield();
      if (sending) {
        EXPECT_THROW(world.broadcast("hello"), LostError);
      }
      EXPECT_EQ(lost_within(world, 20 * kSecond), "process 1 ended early: the disk is full");
    });
    EXPECT_THAT(thrown, Each(""));
  }
}

// Process 2 cannot find process 0, which then misses it, and tells process 1, which is connected.
TEST(World, a_process_that_cannot_be_watched_is_not_waited_for) {
  std::array<Faults, 3> faults;
  faults[2].garble = [first = true](Parcel& parcel) mutable {
    if (std::exchange(first, false)) parcel.head.resize(12);
  };
  std::vector<std::unique_ptr<World>> worlds;
  for (auto& transport : faulty(thread_transports(3), faults)) worlds.push_back(std::make_unique<World>(std::move(transport)));
  std::atomic<int> ended{0};
  std::thread rescue([&] {
    for (const Nanos until = steady_now() + 15 * kSecond; ended < 3 && steady_now() < until;) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(ended, 3) << "who waits for whom?";
    for (Faults& fault : faults) fault.poll = true;
  });
  EXPECT_THAT(on_each(3, [&](std::int32_t p) {
    World& world = *worlds[at(p)];
    const auto watch = [&] { world.watch("process " + std::to_string(p), {.connect_timeout = std::chrono::milliseconds(500)}); };
    if (p == 1) {
      watch();
      EXPECT_THAT(lost_within(world, 10 * kSecond), HasSubstr("process 2 of 3 did not connect"));
    } else {
      EXPECT_THROW(watch(), RunError);
    }
    worlds[at(p)].reset();
    ++ended;
  }), Each(""));
  rescue.join();
}

TEST(World, what_cannot_be_sent_by_the_thread_that_watches_the_clocks_is_a_loss) {
  std::array<Faults, 2> faults;
  auto transports = faulty(thread_transports(2), faults);
  World world(std::move(transports[0]));
  world.watch_clocks(true);
  faults[0].send = true;
  EXPECT_EQ(lost_within(world, 10 * kSecond), "nothing can be sent");
}

TEST(World, what_cannot_be_sent_for_a_session_is_a_loss) {
  std::array<Faults, 2> faults;
  auto transports = faulty(thread_transports(2), faults);
  World world(std::move(transports[0]));
  const std::int64_t session = world.new_session();
  std::mutex held;  // by who sends, and needed by who is told
  bool told = false;
  world.open(session, [](std::int32_t, std::string_view, Parcel&) {}, [&] {
    const std::lock_guard lock(held);
    told = true;
  });
  faults[0].send = true;
  {
    const std::lock_guard lock(held);
    EXPECT_THROW(world.send(session, 1, "lost on its way"), RunError);
  }
  EXPECT_EQ(lost_within(world, 10 * kSecond), "nothing can be sent");
  world.close(session);  // waits for who is telling
  EXPECT_TRUE(told);
}

TEST(World, goes_where_it_cannot_say_so) {
  std::array<Faults, 2> faults;
  auto transports = faulty(thread_transports(2), faults);
  auto world = std::make_unique<World>(std::move(transports[1]));
  faults[1].send = true;
  world.reset();
}

TEST(World, who_ends_early_waits_for_nobody_and_the_others_learn_why) {
  const auto thrown = ThreadProcesses(3).run([](World& world) {
    world.watch("process " + std::to_string(world.process()));
    world.barrier();
    if (world.process() == 2) return world.end_early("the disk is full");
    try {
      world.barrier();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const LostError& error) {
      EXPECT_THAT(error.what(), HasSubstr("the disk is full"));
    }
  });
  EXPECT_THAT(thrown, Each(""));
}

}  // namespace
}  // namespace bubblescope
