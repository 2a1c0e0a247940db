// Values of JSON files by their place, and what is said of those that are not as expected.
#include "sim/core/json_reader.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(JsonReader, gives_values_and_names_the_place_of_those_that_are_not_as_expected) {
  const std::string file = "x.json";
  const nlohmann::json document = parse_json(R"({"a": {"b": [1, 2.5, 18446744073709551615, "c"]}, "t": {"k": "v"}})", file, "anything");
  const JsonReader root(document, "", file);
  const auto items = root.at("a").at("b").items();
  EXPECT_EQ(items[0].number(1), 1);
  EXPECT_EQ(items[0].as<std::uint8_t>(), 1);
  EXPECT_EQ(items[3].text(), "c");
  EXPECT_EQ(root.at("t").texts(), (std::map<std::string, std::string>{{"k", "v"}}));
  EXPECT_EQ(refusal([&] { items[0].number(2); }), "x.json: 'a.b[0]' is 1; expected at least 2");
  EXPECT_EQ(refusal([&] { items[0].number(2, 3); }), "x.json: 'a.b[0]' is 1; expected 2 to 3");
  EXPECT_EQ(refusal([&] { items[1].number(0); }), "x.json: 'a.b[1]' is 2.5; expected a whole number");
  EXPECT_EQ(refusal([&] { items[2].number(-5); }), "x.json: 'a.b[2]' is 18446744073709551615; expected at least -5");
  EXPECT_EQ(refusal([&] { items[3].number(0); }), "x.json: 'a.b[3]' is \"c\"; expected a whole number");
  EXPECT_EQ(refusal([&] { root.at("a").at("c"); }), "x.json: 'a.c' is missing");
  EXPECT_EQ(refusal([&] { root.at("a").items(); }), "x.json: 'a' is {\"b\":[1,2.5,18446744073709551615,\"c\"]}; expected an array");
  EXPECT_EQ(refusal([&] { root.at("a").texts(); }), "x.json: 'a.b' is [1,2.5,18446744073709551615,\"c\"]; expected a text");
}

TEST(JsonReader, a_file_that_is_cut_short_is_told_by_its_byte) {
  EXPECT_EQ(refusal([] { parse_json("{\"a\": ", "x.json", "a profile"); }), "x.json: not JSON, or cut short, at byte 7; expected a profile");
}

}  // namespace
}  // namespace bubblescope
