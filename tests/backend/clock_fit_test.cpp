// Clock comparisons over a network that was made up: the line lies as near to the true one as it says, whatever the
// delays.
#include "backend/clock_fit.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace bubblescope {
namespace {

/// Another clock, and the time that a question and an answer about it take.
struct Network {
  Nanos ahead = 0;    ///< of the other clock, at the first question
  double drift = 0;   ///< the other clock gains so much on process 0's
  Nanos least = 5 * kMicrosecond;
  double there = 0;   ///< mean of what a question takes more
  double back = 0;    ///< ... and an answer
};

constexpr Nanos kBegin = 1'000'000 * kSecond;  // doubles no longer tell nanoseconds apart

Nanos theirs(const Network& network, Nanos common) { return common + network.ahead + std::llround(network.drift * static_cast<double>(common - kBegin)); }

class Questions {
 public:
  Questions(const Network& network, std::uint32_t seed) : network_(network), random_(seed) {}

  void ask(Nanos asked) {
    const Nanos read = asked + network_.least + more(network_.there);
    const Nanos answered = read + network_.least + more(network_.back);
    const Nanos middle = asked + (answered - asked) / 2;
    samples.push_back({middle, middle - theirs(network_, read), (answered - asked + 1) / 2});
  }
  void ask_often(Nanos from, int count, Nanos apart) {
    for (int i = 0; i < count; ++i) ask(from + i * apart);
  }
  /// As in a run: many at both ends, some between.
  void ask_during_a_run(Nanos length) {
    ask_often(kBegin, 40, 100 * kMicrosecond);
    for (Nanos at = 100 * kMillisecond; at < length; at += 100 * kMillisecond) ask(kBegin + at);
    ask_often(kBegin + length, 40, 100 * kMicrosecond);
  }
  /// The farthest that `fit` is off while there were questions.
  Nanos off(const ClockFit& fit) const {
    const auto by_time = [](const ClockSample& a, const ClockSample& b) { return a.common < b.common; };
    const auto [first, last] = std::minmax_element(samples.begin(), samples.end(), by_time);
    Nanos farthest = 0;
    for (int i = 0; i <= 100; ++i) {
      const Nanos common = first->common + (last->common - first->common) / 100 * i;
      farthest = std::max(farthest, std::abs(fit.to_common(theirs(network_, common)) - common));
    }
    return farthest;
  }

  std::vector<ClockSample> samples;

 private:
  Nanos more(double mean) { return mean > 0 ? std::llround(std::exponential_distribution<double>(1 / mean)(random_)) : 0; }
  Network network_;
  std::mt19937 random_;
};

TEST(ClockFit, no_comparison_leaves_a_clock_as_it_is) {
  const ClockFit fit = fit_clock({});
  EXPECT_EQ(fit.to_common(123), 123);
  EXPECT_EQ(fit.error, 0);
}

TEST(ClockFit, one_comparison_is_an_offset) {
  const ClockSample sample{kBegin, -7 * kSecond, 40};
  const ClockFit fit = fit_clock({&sample, 1});
  EXPECT_EQ(fit.to_common(kBegin + 7 * kSecond), kBegin);
  EXPECT_EQ(fit.to_common(kBegin + 8 * kSecond), kBegin + kSecond);
  EXPECT_EQ(fit.error, 40);
}

TEST(ClockFit, of_several_at_one_time_the_one_that_took_the_shortest_way_counts) {
  const std::vector<ClockSample> samples{{kBegin, 500, 600}, {kBegin, 10, 20}, {kBegin, -300, 400}};
  const ClockFit fit = fit_clock(samples);
  EXPECT_EQ(fit.to_common(kBegin), kBegin + 10);
  EXPECT_EQ(fit.error, 20);
}

// Within 50 ms a clock of 100 ppm gains 5 us, as much as one comparison may be wrong: no drift can be seen.
TEST(ClockFit, no_drift_is_taken_from_a_short_time) {
  Questions questions({.ahead = kSecond, .drift = 100e-6}, 1);
  questions.ask_often(kBegin, 100, 400 * kMicrosecond);
  EXPECT_EQ(fit_clock(questions.samples).drift, 0);
}

TEST(ClockFit, without_a_drift_none_is_found_behind_the_noise) {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    Questions questions({.ahead = -3 * kSecond, .there = 30e3, .back = 30e3}, seed);
    questions.ask_during_a_run(2 * kSecond);
    EXPECT_LT(std::abs(fit_clock(questions.samples).drift), 5e-6);
  }
}

// own = common + ahead + d (common - begin), so common gains -d / (1 + d) on own.
TEST(ClockFit, a_drift_is_found_behind_delays_of_one_side) {
  for (const double drift : {-200e-6, -20e-6, 20e-6, 200e-6}) {
    for (const auto& [there, back] : {std::pair(0.0, 0.0), std::pair(200e3, 0.0), std::pair(0.0, 200e3), std::pair(50e3, 50e3)}) {
      Questions questions({.ahead = 3 * kSecond, .drift = drift, .there = there, .back = back}, 7);
      questions.ask_during_a_run(10 * kSecond);
      const ClockFit fit = fit_clock(questions.samples);
      EXPECT_NEAR(fit.drift, -drift / (1 + drift), 3e-6) << drift << ' ' << there << ' ' << back;
    }
  }
}

TEST(ClockFit, is_no_farther_off_than_it_says) {
  EXPECT_TRUE(rc::check([] {
    Network network;
    network.ahead = *rc::gen::inRange<Nanos>(-kSecond, kSecond) * 1000;
    network.drift = *rc::gen::inRange(-200, 201) * 1e-6;
    network.least = *rc::gen::inRange<Nanos>(100, 100'000);
    network.there = *rc::gen::inRange(0, 300'000);
    network.back = *rc::gen::inRange(0, 300'000);
    Questions questions(network, *rc::gen::inRange(1U, 1'000'000U));
    questions.ask_during_a_run(*rc::gen::inRange<Nanos>(1, 3000) * kMillisecond);
    const ClockFit fit = fit_clock(questions.samples);
    const Nanos rounding = 200;  // drift that cannot be told from none, in ns: doubles, and a middle that is rounded
    RC_ASSERT(questions.off(fit) <= fit.error + rounding);
  }));
}

TEST(ClockFit, few_comparisons_far_apart_say_how_little_they_know) {
  // The first took a long way, all of it there: the clock seems to be 2 ms farther back than it is.
  const std::vector<ClockSample> samples{{kBegin, 2 * kMillisecond, 2 * kMillisecond}, {kBegin + kSecond, 0, 700 * kMicrosecond}};
  const ClockFit fit = fit_clock(samples);
  EXPECT_GE(fit.error, std::abs(fit.to_common(kBegin) - kBegin));
  EXPECT_GE(fit.error, std::abs(fit.to_common(kBegin + kSecond) - kBegin - kSecond));
}

}  // namespace
}  // namespace bubblescope
