// Tests of sizes and bandwidths as people write them.
#include "sim/core/units.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <fmt/format.h>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

TEST(Units, decimal_units_are_powers_of_a_thousand_and_binary_ones_of_1024) {
  EXPECT_EQ(parse_bytes("16GB"), 16'000'000'000);
  EXPECT_EQ(parse_bytes("64MiB"), 64 * 1024 * 1024);
  EXPECT_EQ(parse_bytes("1.5 kB"), 1500);
  EXPECT_EQ(parse_bytes("0.0004kB"), 0);
  EXPECT_EQ(parse_bytes("0.0005kB"), 1);  // rounded half up
  EXPECT_EQ(parse_bytes("123"), 123);
}

TEST(Units, eight_bits_per_second_are_a_byte_per_second) {
  EXPECT_EQ(parse_bandwidth("100Gbit/s"), 12.5e9);
  EXPECT_EQ(parse_bandwidth("25GB/s"), 25e9);
  EXPECT_EQ(parse_bandwidth("8bit/s"), 1.0);
  EXPECT_EQ(parse_bandwidth("2 MiB/s"), 2097152.0);
  EXPECT_EQ(parse_bandwidth("1e9"), 1e9);
}

TEST(Units, whole_numbers_of_every_unit_are_exact) {
  EXPECT_TRUE(rc::check([] {
    const auto number = *rc::gen::inRange<std::int64_t>(0, 1 << 20);
    RC_ASSERT(parse_bytes(fmt::format("{}GiB", number)) == number << 30);
    RC_ASSERT(parse_bytes(fmt::format("{} kB", number)) == number * 1000);
    RC_ASSERT(parse_bandwidth(fmt::format("{}MB/s", number)) == static_cast<double>(number) * 1e6);
  }));
}

TEST(Units, anything_else_is_refused) {
  for (const char* text : {"", "GB", "-1GB", "-0", "nan", "inf", "1e400", "16GB/s", "16 gb", "1GBit", "1GB x", "1e19"}) {
    EXPECT_THROW(parse_bytes(text), InputError) << text;
  }
  for (const char* text : {"", "/s", "-1GB/s", "25GB", "25Gb/s", "inf", "1GB/s/s"}) {
    EXPECT_THROW(parse_bandwidth(text), InputError) << text;
  }
}

TEST(Units, a_wrong_unit_is_named) {
  try {
    parse_bandwidth("100Gb/s");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("unknown unit 'Gb/s'"));
    EXPECT_THAT(error.what(), testing::HasSubstr("expected"));
  }
}

}  // namespace
}  // namespace bubblescope
