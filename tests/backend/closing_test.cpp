// How long a process waits for others when all is done.
#include "backend/closing.hpp"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace bubblescope
