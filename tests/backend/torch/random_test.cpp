// Keyed random numbers: known values, and independence of the key's parts.
#include "backend/torch/random.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

namespace bubblescope {
namespace {

TEST(KeyedRandom, every_key_has_its_own_numbers_and_always_the_same) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t a = 0; a < 30; ++a) {
    for (std::uint64_t b = 0; b < 30; ++b) {
      KeyedRandom once({a, b}), again({a, b});
      for (int i = 0; i < 4; ++i) {
        const std::uint64_t value = once.next();
        EXPECT_EQ(value, again.next());
        seen.insert(value);
      }
    }
  }
  EXPECT_EQ(seen.size(), 30u * 30 * 4);
  EXPECT_NE(mix_key({1, 2}), mix_key({2, 1}));
  EXPECT_NE(mix_key({1}), mix_key({1, 0}));
}

// 20000 uniform values: mean 1/2 with deviation 1/sqrt(12 * 20000) = 0.002.
TEST(KeyedRandom, uniform_values_spread_evenly) {
  KeyedRandom random({7});
  double sum = 0;
  std::vector<int> bins(10);
  for (int i = 0; i < 20000; ++i) {
    const double value = random.uniform();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    sum += value;
    ++bins[static_cast<std::size_t>(value * 10)];
  }
  EXPECT_NEAR(sum / 20000, 0.5, 0.01);
  for (const int count : bins) EXPECT_NEAR(count, 2000, 200);
}

// Every of the 6 orders of 3 values comes up about 1000 times in 6000 shuffles (deviation 29).
TEST(Shuffle, gives_every_order_the_same_chance) {
  std::map<std::vector<std::int64_t>, int> orders;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    std::vector<std::int64_t> values{0, 1, 2};
    KeyedRandom random({9, i});
    shuffle(values, random);
    ++orders[values];
  }
  ASSERT_EQ(orders.size(), 6u);
  for (const auto& [order, count] : orders) EXPECT_NEAR(count, 1000, 150);
}

}  // namespace
}  // namespace bubblescope
