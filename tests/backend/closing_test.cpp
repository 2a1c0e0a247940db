// How long a process waits for others when all is done.
#include "backend/closing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using namespace std::chrono_literals;

TEST(Patience, is_over_after_its_limit) {
  const Patience::Clock::time_point begin{};
  Patience patience(6s, begin);
  for (auto now = 0ms; now < 6s; now += Patience::kLook) ASSERT_FALSE(patience.over(begin + now)) << now.count() << " ms";
  EXPECT_TRUE(patience.over(begin + 6s));
}

TEST(Patience, begins_again) {
  const Patience::Clock::time_point begin{};
  Patience patience(200ms, begin);
  EXPECT_FALSE(patience.over(begin + 100ms));
  patience.renew(begin + 150ms);
  EXPECT_FALSE(patience.over(begin + 300ms));
  EXPECT_TRUE(patience.over(begin + 350ms));
}

TEST(Patience, does_not_count_time_in_which_the_process_was_stopped_itself) {
  const Patience::Clock::time_point begin{};
  Patience patience(6s, begin);
  EXPECT_FALSE(patience.over(begin + 100ms));
  EXPECT_FALSE(patience.over(begin + 1h));
  EXPECT_FALSE(patience.over(begin + 1h + 100ms));
  EXPECT_FALSE(patience.over(begin + 2h));
  EXPECT_FALSE(patience.over(begin + 3h));
  for (auto now = 100ms; now < 4s; now += Patience::kLook) ASSERT_FALSE(patience.over(begin + 3h + now)) << now.count() << " ms";
  bool over = false;
  for (std::chrono::milliseconds now = 4s; now <= 6s; now += Patience::kLook) over = patience.over(begin + 3h + now);
  EXPECT_TRUE(over);
}

TEST(AwaitAllParcels, ends_once_two_rounds_agree_that_all_have_come) {
  std::vector<ParcelTotals> rounds{{1, 3}, {3, 3}, {3, 4}, {4, 4}, {4, 4}, {9, 9}};
  std::size_t next = 0;
  await_all_parcels(1h, [&] { return rounds.at(next++); });
  EXPECT_EQ(next, 5u);
}

TEST(AwaitAllParcels, does_not_wait_without_end_for_one_that_was_counted_and_never_left) {
  std::int64_t come = 0;
  const auto begin = Patience::Clock::now();
  try {
    await_all_parcels(300ms, [&] {
      std::this_thread::sleep_for(10ms);
      come = std::min<std::int64_t>(come + 1, 6);
      return ParcelTotals{come, 7};
    });
    FAIL() << "they have not all come";
  } catch (const RunError& error) {
    EXPECT_STREQ(error.what(), "7 parcels were sent, but 6 have come");
  }
  EXPECT_GE(Patience::Clock::now() - begin, 300ms);
}

}  // namespace
}  // namespace bubblescope
