// Values in a string of bytes: what goes in comes out, and bytes that are too few are an error.
#include "backend/fields.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace bubblescope {
namespace {

struct Pair {
  std::int64_t a;
  std::int64_t b;
  friend bool operator==(const Pair&, const Pair&) = default;
};

TEST(Fields, come_out_as_they_went_in_and_in_that_order) {
  const std::string text("with a \0 in it", 14);
  const std::vector<Pair> pairs{{1, -2}, {3, std::numeric_limits<std::int64_t>::min()}};
  const std::string bytes = FieldsOut().add(std::uint8_t{7}).add(text).add(std::string()).add(pairs).add(std::vector<double>()).add(-0.5).take();
  FieldsIn in(bytes);
  EXPECT_EQ(in.get<std::uint8_t>(), 7);
  EXPECT_EQ(in.get<std::string>(), text);
  EXPECT_EQ(in.get<std::string>(), "");
  EXPECT_EQ(in.get<std::vector<Pair>>(), pairs);
  EXPECT_TRUE(in.get<std::vector<double>>().empty());
  EXPECT_EQ(in.get<double>(), -0.5);
  EXPECT_EQ(in.rest(), "");
}

TEST(Fields, leave_what_was_not_asked_for) {
  const std::string bytes = FieldsOut().add(std::int32_t{5}).take() + "and the rest";
  FieldsIn in(bytes);
  EXPECT_EQ(in.get<std::int32_t>(), 5);
  EXPECT_EQ(in.rest(), "and the rest");
}

TEST(Fields, that_end_early_are_an_error_wherever_they_end) {
  const std::string bytes = FieldsOut().add(std::int64_t{1}).add(std::string("twelve bytes")).add(std::vector<std::int32_t>{1, 2, 3}).take();
  const auto read = [](std::string_view from) {
    FieldsIn in(from);
    in.get<std::int64_t>();
    in.get<std::string>();
    in.get<std::vector<std::int32_t>>();
  };
  EXPECT_NO_THROW(read(bytes));
  for (std::size_t length = 0; length < bytes.size(); ++length) EXPECT_THROW(read(std::string_view(bytes).substr(0, length)), RunError) << length;
}

TEST(Fields, that_say_they_are_longer_than_anything_are_an_error) {
  const std::string bytes = FieldsOut().add(std::numeric_limits<std::uint64_t>::max()).add(std::int64_t{0}).take();
  EXPECT_THROW(FieldsIn(bytes).get<std::string>(), RunError);
  EXPECT_THROW(FieldsIn(bytes).get<std::vector<std::int64_t>>(), RunError);
}

TEST(Fields, a_list_that_holds_half_a_value_is_an_error) {
  const std::string bytes = FieldsOut().add(std::string("seven b")).take();
  EXPECT_THROW(FieldsIn(bytes).get<std::vector<std::int32_t>>(), RunError);
}

}  // namespace
}  // namespace bubblescope
