// Tests of the key reference: the committed one in scenarios/README.md is the table's, and the README's
// example is a scenario. UPDATE_GOLDEN=1 rewrites the reference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "sim/scenario/keys.hpp"
#include "sim/scenario/scenario.hpp"
#include "tests/source_dir.hpp"

namespace bubblescope {
namespace {

const std::filesystem::path kReadme = source_dir() / "scenarios" / "README.md";
constexpr std::string_view kBegin = "<!-- begin of the key reference -->\n";
constexpr std::string_view kEnd = "<!-- end of the key reference -->\n";

std::string readme() {
  std::ostringstream text;
  text << std::ifstream(kReadme).rdbuf();
  return text.str();
}

/// The first line of `a` that differs from the same line of `b`.
std::string first_difference(const std::string& a, const std::string& b) {
  std::istringstream left(a), right(b);
  std::string line, other;
  while (std::getline(left, line)) {
    if (!std::getline(right, other) || line != other) return line;
  }
  return "(nothing more)";
}

TEST(ScenarioReference, the_readme_holds_what_the_table_of_keys_says) {
  const std::string text = readme();
  const auto begin = text.find(kBegin), end = text.find(kEnd);
  ASSERT_NE(begin, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  const auto first = begin + kBegin.size();
  const std::string wanted = "\n" + scenario_reference() + "\n";
  if (std::getenv("UPDATE_GOLDEN") != nullptr) {
    std::ofstream(kReadme) << text.substr(0, first) << wanted << text.substr(end);
    return;
  }
  const std::string committed = text.substr(first, end - first);
  EXPECT_TRUE(committed == wanted)
      << "first difference:\n  committed: " << first_difference(committed, wanted) << "\n  the table: "
      << first_difference(wanted, committed) << "\nscenarios/README.md is older than the table of keys (or of schedules, models, devices). Run this test with "
         "UPDATE_GOLDEN=1 to rewrite it.";
}

TEST(ScenarioReference, the_readmes_example_is_a_scenario) {
  const std::string text = readme();
  const std::string fence = "```toml\n";
  const auto begin = text.find(fence);
  ASSERT_NE(begin, std::string::npos);
  const auto first = begin + fence.size();
  const Scenario scenario = parse_scenario(text.substr(first, text.find("```", first) - first), "example.toml");
  ASSERT_EQ(scenario.schedules.size(), 2u);
  EXPECT_EQ(scenario.schedules[0].label, "ppll queue=4");
  EXPECT_EQ(scenario.cluster.link.bandwidth, 10e9);
}

TEST(ScenarioReference, every_key_and_its_default_are_in_it) {
  const std::string text = scenario_reference();
  for (const Key& key : scenario_keys()) EXPECT_THAT(text, testing::HasSubstr("| `" + std::string(key.name) + "` |"));
  EXPECT_THAT(text, testing::HasSubstr("| `batch` | a whole number of at least 1 | samples | `128` |"));
  EXPECT_THAT(text, testing::HasSubstr("| `optimizer` | one of sgd, adamw |  | `\"sgd\"` |"));
  EXPECT_THAT(text, testing::HasSubstr("### [[schedule]]"));
}

TEST(ScenarioReference, ranges_are_told_where_they_mean_something) {
  EXPECT_EQ(expected_value(*find_key("cluster", "efficiency")), "a number of at least 1e-06 and at most 1");
  EXPECT_EQ(expected_value(*find_key("run", "iterations")), "a whole number of at least 1");
  EXPECT_EQ(default_value(*find_key("cluster", "latency")), "the profile's, else 0");
  EXPECT_EQ(default_value(*find_key("costs", "profile")), "none");
  EXPECT_EQ(default_value(*find_key("model", "image")), "[3, 32, 32]");
  EXPECT_EQ(default_value(*find_key("output", "formats")), "[\"html\", \"md\", \"json\"]");
}

}  // namespace
}  // namespace bubblescope
