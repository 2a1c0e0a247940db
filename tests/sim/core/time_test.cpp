// Durations as text.
#include "sim/core/time.hpp"

#include <gtest/gtest.h>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

TEST(ParseDuration, reads_every_unit_and_takes_bare_numbers_as_milliseconds) {
  EXPECT_EQ(parse_duration("7ns"), 7);
  EXPECT_EQ(parse_duration("10us"), 10'000);
  EXPECT_EQ(parse_duration("10 µs"), 10'000);
  EXPECT_EQ(parse_duration("1.5ms"), 1'500'000);
  EXPECT_EQ(parse_duration("2s"), 2'000'000'000);
  EXPECT_EQ(parse_duration("1.5min"), 90'000'000'000);
  EXPECT_EQ(parse_duration("2 h"), 7'200'000'000'000);
  EXPECT_EQ(parse_duration("18.522"), 18'522'000);
}

TEST(ParseDuration, rounds_half_up_to_nanoseconds) {
  EXPECT_EQ(parse_duration("0.5ns"), 1);
  EXPECT_EQ(parse_duration("0.4ns"), 0);
}

TEST(ParseDuration, refuses_everything_else) {
  for (const char* text : {"", "fast", "1d", "-1ms", "1ms2", "nan", "inf", "1e30s", "ms"}) EXPECT_THROW(parse_duration(text), InputError) << text;
}

TEST(FormatDuration, has_three_digits_and_a_unit) {
  EXPECT_EQ(format_duration(0), "0 ns");
  EXPECT_EQ(format_duration(999), "999 ns");
  EXPECT_EQ(format_duration(1'234), "1.23 us");
  EXPECT_EQ(format_duration(999'600), "1.00 ms");
  EXPECT_EQ(format_duration(12'345'678), "12.3 ms");
  EXPECT_EQ(format_duration(123'456'789), "123 ms");
  EXPECT_EQ(format_duration(2'500'000'000), "2.50 s");
  EXPECT_EQ(format_duration(-1'500'000), "-1.50 ms");
}

TEST(NearestName, finds_typing_errors_and_nothing_far_off) {
  const std::vector<std::string> names{"gpipe", "1f1b", "ppll"};
  EXPECT_EQ(nearest_name("gpip", names), "gpipe");
  EXPECT_EQ(nearest_name("pplll", names), "ppll");
  EXPECT_EQ(nearest_name("GPIPE", names), "gpipe");
  EXPECT_EQ(nearest_name("zero-bubble", names), "");
}

}  // namespace
}  // namespace bubblescope
