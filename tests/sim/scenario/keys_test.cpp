// Tests of the table of keys: that it is consistent, and that every key reaches a field of its own.
#include "sim/scenario/keys.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace bubblescope {
namespace {

/// A value that differs from the given one.
struct Other {
  KeyValue operator()(const std::string& value) const { return value + "x"; }
  KeyValue operator()(std::int64_t value) const { return value + 1; }
  KeyValue operator()(double value) const { return value + 0.5; }
  KeyValue operator()(bool value) const { return !value; }
  KeyValue operator()(std::vector<std::int64_t> value) const { return value.push_back(7), value; }
  KeyValue operator()(std::vector<std::string> value) const { return value.push_back("x"), value; }
  KeyValue operator()(std::vector<std::vector<int>> value) const { return value.push_back({7}), value; }
  KeyValue operator()(std::map<std::string, double> value) const { return value["x"] = 7, value; }
  KeyValue operator()(std::map<std::string, std::vector<Nanos>> value) const { return value["x"] = {7}, value; }
};

TEST(Keys, every_key_reaches_a_field_of_its_own) {
  for (const Key& key : scenario_keys()) {
    Scenario scenario;
    scenario.schedules.emplace_back();
    const KeyValue other = std::visit(Other{}, key.get(scenario));
    key.set(scenario, other);
    EXPECT_EQ(key.get(scenario), other) << key.section << "." << key.name;
    Scenario fresh;
    fresh.schedules.emplace_back();
    for (const Key& second : scenario_keys()) {
      if (&second == &key) continue;
      EXPECT_EQ(second.get(scenario), second.get(fresh)) << key.section << "." << key.name << " changes " << second.section
                                                         << "." << second.name;
    }
  }
}

TEST(Keys, the_type_of_every_key_is_that_of_its_field) {
  for (const Key& key : scenario_keys()) {
    const KeyValue value = key.get(Scenario{});
    const std::string name = std::string(key.section) + "." + std::string(key.name);
    switch (key.type) {
      case KeyType::text:
      case KeyType::stages:
      case KeyType::path: EXPECT_TRUE(std::holds_alternative<std::string>(value)) << name; break;
      case KeyType::integer:
      case KeyType::duration:
      case KeyType::size: EXPECT_TRUE(std::holds_alternative<std::int64_t>(value)) << name; break;
      case KeyType::number:
      case KeyType::bandwidth: EXPECT_TRUE(std::holds_alternative<double>(value)) << name; break;
      case KeyType::boolean: EXPECT_TRUE(std::holds_alternative<bool>(value)) << name; break;
      case KeyType::integers: EXPECT_TRUE(std::holds_alternative<std::vector<std::int64_t>>(value)) << name; break;
      case KeyType::texts: EXPECT_TRUE(std::holds_alternative<std::vector<std::string>>(value)) << name; break;
      case KeyType::core_sets: EXPECT_TRUE(std::holds_alternative<std::vector<std::vector<int>>>(value)) << name; break;
      case KeyType::numbers: EXPECT_TRUE((std::holds_alternative<std::map<std::string, double>>(value))) << name; break;
      case KeyType::durations:
        EXPECT_TRUE((std::holds_alternative<std::map<std::string, std::vector<Nanos>>>(value))) << name;
        break;
    }
  }
}

TEST(Keys, every_section_has_keys_and_every_key_a_section_and_a_meaning) {
  std::set<std::string_view> sections, used;
  for (const KeySection& section : key_sections()) {
    EXPECT_TRUE(sections.insert(section.name).second) << section.name;
    EXPECT_FALSE(section.meaning.empty()) << section.name;
  }
  std::set<std::pair<std::string_view, std::string_view>> names;
  for (const Key& key : scenario_keys()) {
    EXPECT_TRUE(names.insert({key.section, key.name}).second) << key.section << "." << key.name << " is there twice";
    EXPECT_TRUE(sections.contains(key.section)) << key.section;
    EXPECT_FALSE(key.meaning.empty()) << key.name;
    used.insert(key.section);
  }
  EXPECT_EQ(used, sections);
}

TEST(Keys, every_default_that_is_a_word_is_one_of_the_allowed_words) {
  for (const Key& key : scenario_keys()) {
    if (key.type != KeyType::text || key.choices == nullptr || key.section == "schedule") continue;
    const auto choices = key.choices();
    const auto value = std::get<std::string>(key.get(Scenario{}));
    EXPECT_NE(std::find(choices.begin(), choices.end(), value), choices.end()) << key.section << "." << key.name;
  }
}

TEST(Keys, keys_are_found_by_section_and_name) {
  ASSERT_NE(find_key("training", "schedule"), nullptr);
  EXPECT_EQ(find_key("training", "schedule")->section, "training");
  EXPECT_EQ(find_key("training", "classes"), nullptr);
  EXPECT_EQ(key_names("schedule"), (std::vector<std::string>{"name", "label", "microbatches", "recompute"}));
}

}  // namespace
}  // namespace bubblescope
