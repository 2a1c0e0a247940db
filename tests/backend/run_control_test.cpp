// The common end: over processes, whatever order their words come in, all ranks walk the same walks.
#include "backend/run_control.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bubblescope {
namespace {

/// A rank would wait for ever.
struct Stuck : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Controls of several processes on one thread. What they say to each other comes in any order; a rank that waits is
/// woken, or stuck once nothing is left to be said.
class Job {
 public:
  Job(std::int32_t processes, std::int64_t walks, std::uint32_t seed) : random_(seed) {
    for (std::int32_t p = 0; p < processes; ++p) ends_.push_back(std::make_unique<End>(*this, p, processes, walks));
  }

  /// A rank of process `p` comes to its walk.
  bool begin(std::int32_t p, std::int64_t walk) { return control(p).begin(walk, end(p).bells.front(), 3600 * kSecond); }
  RunControl& control(std::int32_t p) { return *end(p).control; }
  void want_stop(std::int32_t p) { end(p).stop = true; }
  bool under_way() const { return !words_.empty(); }
  void tell_some() {
    while (!words_.empty() && random_() % 2 == 0) tell_one();
  }
  void tell_all() {
    while (!words_.empty()) tell_one();
  }
  std::uint32_t random(std::uint32_t below) { return static_cast<std::uint32_t>(random_()) % below; }

  Bell& bell(std::int32_t p) { return end(p).bells.front(); }
  int asleep(std::int32_t p) { return end(p).asleep; }

  bool is_cut_off = false;  ///< failures cannot be told

 private:
  struct End final : RemoteControls {
    End(Job& all, std::int32_t process, std::int32_t of, std::int64_t walks) : job(all), number(process), count(of), bells(2), control(std::make_unique<RunControl>(walks, &stop, bells, this)) {}
    bool first() const override { return number == 0; }
    std::int32_t processes() const override { return count; }
    void stop_wanted() override {
      job.words_.push_back([this] { job.control(0).told_stop_wanted(); });
    }
    void freeze() override {
      to_others([](RunControl& other) { other.told_freeze(); });
    }
    void begun(std::int64_t walks) override {
      job.words_.push_back([this, walks] { job.control(0).told_begun(walks); });
    }
    void end_at(std::int64_t walks) override {
      to_others([walks](RunControl& other) { other.told_end_at(walks); });
    }
    void failed(const std::string& message) override {
      if (job.is_cut_off) throw std::runtime_error("the network is down");
      to_others([message](RunControl& other) { other.told_failure(message); });
    }
    void attend(int more) override { asleep += more; }
    bool poll() override {
      if (job.words_.empty()) throw Stuck("nobody has anything to say");
      job.tell_one();
      return true;
    }
    void to_others(const std::function<void(RunControl&)>& word) {
      for (std::int32_t p = 0; p < count; ++p) {
        if (p != number) job.words_.push_back([this, word, p] { word(job.control(p)); });
      }
    }
    Job& job;
    const std::int32_t number, count;
    std::vector<Bell> bells;
    std::atomic<int> asleep{0};
    std::atomic<bool> stop{false};
    std::unique_ptr<RunControl> control;
  };

  End& end(std::int32_t p) { return *ends_[static_cast<std::size_t>(p)]; }
  void tell_one() {
    std::swap(words_[random(static_cast<std::uint32_t>(words_.size()))], words_.back());
    const auto word = std::move(words_.back());
    words_.pop_back();
    word();
  }

  std::mt19937 random_;
  std::vector<std::unique_ptr<End>> ends_;
  std::vector<std::function<void()>> words_;
};

struct Ended {
  std::vector<std::int64_t> walked;  ///< by rank
  std::int64_t walks = 0;
  bool stopped = false;
};

/// Two ranks in every process walk as chance has it; some processes are asked to stop, after some time.
Ended walk_all(std::int32_t processes, std::int64_t walks, std::uint32_t seed, const std::vector<std::pair<std::int32_t, int>>& stops) {
  Job job(processes, walks, seed);
  std::vector<std::int64_t> walked(static_cast<std::size_t>(2 * processes), 0);
  std::vector<bool> ended(walked.size(), false);
  for (int turn = 0; std::count(ended.begin(), ended.end(), false) > 0; ++turn) {
    for (const auto& [process, when] : stops) {
      if (turn == when) job.want_stop(process);
    }
    job.tell_some();
    const auto rank = job.random(static_cast<std::uint32_t>(walked.size()));
    if (ended[rank]) continue;
    if (job.begin(static_cast<std::int32_t>(rank) / 2, walked[rank])) {
      ++walked[rank];
    } else {
      ended[rank] = true;
    }
  }
  job.tell_all();
  Ended result{walked, job.control(0).walks(), job.control(0).stopped()};
  for (std::int32_t p = 0; p < processes; ++p) {
    EXPECT_EQ(job.control(p).walks(), result.walks) << "process " << p;
    EXPECT_EQ(job.control(p).stopped(), result.stopped) << "process " << p;
    EXPECT_FALSE(job.control(p).failed());
  }
  return result;
}

TEST(RunControl, ranks_of_all_processes_walk_all_walks_where_nobody_stops) {
  const Ended ended = walk_all(3, 10, 1, {});
  EXPECT_EQ(ended.walked, std::vector<std::int64_t>(6, 10));
  EXPECT_FALSE(ended.stopped);
}

TEST(RunControl, a_stop_ends_all_ranks_after_the_same_walk_and_leaves_nobody_behind) {
  int early = 0;
  for (std::uint32_t seed = 0; seed < 3000; ++seed) {
    std::mt19937 random(seed);
    const auto processes = 2 + static_cast<std::int32_t>(seed % 3);
    std::vector<std::pair<std::int32_t, int>> stops;
    for (std::int32_t p = 0; p < processes; ++p) {
      if (random() % 2 == 0) stops.emplace_back(p, static_cast<int>(random() % 120));
    }
    SCOPED_TRACE(seed);
    const Ended ended = walk_all(processes, 20, seed, stops);
    ASSERT_EQ(ended.walked, std::vector<std::int64_t>(ended.walked.size(), ended.walks));
    // In the last walk there is nothing left to stop.
    ASSERT_EQ(ended.stopped, ended.walks < 20);
    early += ended.stopped;
  }
  EXPECT_GT(early, 1000);
  EXPECT_LT(early, 2900);
}

TEST(RunControl, a_stop_in_the_last_walk_is_none) {
  Job job(2, 3, 1);
  for (std::int64_t walk = 0; walk < 3; ++walk) ASSERT_TRUE(job.begin(0, walk));
  for (std::int64_t walk = 0; walk < 2; ++walk) ASSERT_TRUE(job.begin(1, walk));
  job.want_stop(1);
  ASSERT_TRUE(job.begin(1, 2));
  EXPECT_FALSE(job.begin(0, 3));
  EXPECT_FALSE(job.begin(1, 3));
  job.tell_all();
  for (const std::int32_t p : {0, 1}) {
    EXPECT_FALSE(job.control(p).stopped());
    EXPECT_EQ(job.control(p).walks(), 3);
  }
}

TEST(RunControl, a_stop_before_the_first_walk_ends_before_it) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    Job job(3, 3, seed);
    for (const std::int32_t p : {0, 1, 2}) job.want_stop(p);
    EXPECT_FALSE(job.begin(0, 0));
    EXPECT_FALSE(job.begin(2, 0));
    EXPECT_FALSE(job.begin(1, 0));
    EXPECT_TRUE(job.control(1).stopped());
    EXPECT_EQ(job.control(1).walks(), 0);
  }
}

TEST(RunControl, one_process_that_could_be_one_of_several_stops_too) {
  Job job(1, 3, 1);
  ASSERT_TRUE(job.begin(0, 0));
  job.want_stop(0);
  EXPECT_FALSE(job.begin(0, 1));
  EXPECT_TRUE(job.control(0).stopped());
  EXPECT_EQ(job.control(0).walks(), 1);
}

TEST(RunControl, while_it_is_asked_how_far_all_are_walks_that_were_begun_here_go_on) {
  Job job(2, 10, 1);
  ASSERT_TRUE(job.begin(1, 0));
  ASSERT_TRUE(job.begin(1, 1));  // one rank of process 1
  job.control(1).told_freeze();
  EXPECT_TRUE(job.begin(1, 0));  // the other one
  EXPECT_TRUE(job.begin(1, 1));
  job.control(1).told_end_at(2);
  EXPECT_FALSE(job.begin(1, 2));
}

TEST(RunControl, a_failure_reaches_all_processes_and_the_first_one_stays) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    Job job(4, 10, seed);
    ASSERT_TRUE(job.begin(0, 0));
    job.control(2).fail("rank 5, op 3 (2F1): broken");
    EXPECT_TRUE(job.control(2).failed());
    EXPECT_THROW(job.begin(2, 0), Aborted);
    job.tell_all();
    for (std::int32_t p = 0; p < 4; ++p) {
      ASSERT_TRUE(job.control(p).failed());
      EXPECT_EQ(job.control(p).failure(), "rank 5, op 3 (2F1): broken");
      EXPECT_THROW(job.begin(p, 1), Aborted);
    }
    job.control(1).fail("later");
    EXPECT_FALSE(job.under_way()) << "nobody is told what came of a failure";
    EXPECT_EQ(job.control(1).failure(), "rank 5, op 3 (2F1): broken");
  }
}

TEST(RunControl, a_failure_that_cannot_be_told_still_ends_the_ranks_here) {
  Job job(2, 10, 1);
  job.is_cut_off = true;
  EXPECT_NO_THROW(job.control(0).fail("broken"));
  EXPECT_THROW(job.begin(0, 0), Aborted);
  EXPECT_EQ(job.control(0).failure(), "broken");
}

TEST(RunControl, a_failure_wakes_a_rank_that_waits_to_hear_where_the_end_is) {
  Job job(2, 10, 1);
  ASSERT_TRUE(job.begin(1, 0));
  job.control(1).told_freeze();
  job.control(0).fail("broken");
  EXPECT_THROW(job.begin(1, 1), Aborted);
}

TEST(RunControl, sleeps_that_are_cut_short_by_a_failure_end_soon) {
  Job job(2, 10, 1);
  job.control(0).fail("broken");
  EXPECT_THROW(job.control(0).sleep_until(steady_now() + 3600 * kSecond), Aborted);
}

TEST(RunControl, who_sleeps_has_others_look_for_what_comes) {
  Job job(2, 10, 1);
  std::atomic<bool> ready{false};
  std::thread rank([&] { job.control(1).await(job.bell(1), 0, [&] { return ready.load(); }); });
  for (const Nanos end = steady_now() + 10 * kSecond; job.asleep(1) == 0 && steady_now() < end;) std::this_thread::yield();
  EXPECT_EQ(job.asleep(1), 1);
  ready = true;
  job.bell(1).ring();
  rank.join();
  EXPECT_EQ(job.asleep(1), 0);
}

}  // namespace
}  // namespace bubblescope
