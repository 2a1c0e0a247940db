// The table of keys in words: what a key takes, and the reference in scenarios/README.md.
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sim/scenario/check.hpp"
#include "sim/scenario/keys.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

/// The shortest exact text of a duration, as a file would have it.
std::string duration_text(Nanos duration) {
  if (duration == 0) return "0";
  if (duration % kSecond == 0) return fmt::format("\"{}s\"", duration / kSecond);
  if (duration % kMillisecond == 0) return fmt::format("\"{}ms\"", duration / kMillisecond);
  if (duration % kMicrosecond == 0) return fmt::format("\"{}us\"", duration / kMicrosecond);
  return fmt::format("\"{}ns\"", duration);
}

struct ValueText {
  KeyType type;

  std::string operator()(const std::string& value) const { return fmt::format("\"{}\"", value); }
  std::string operator()(std::int64_t value) const {
    return type == KeyType::duration ? duration_text(value) : fmt::format("{}", value);
  }
  std::string operator()(double value) const { return fmt::format("{}", value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(const std::vector<std::int64_t>& value) const {
    return fmt::format("[{}]", fmt::join(value, ", "));
  }
  std::string operator()(const std::vector<std::string>& value) const {
    std::vector<std::string> quoted;
    for (const std::string& text : value) quoted.push_back((*this)(text));
    return fmt::format("[{}]", fmt::join(quoted, ", "));
  }
  std::string operator()(const std::vector<std::vector<int>>& value) const {
    std::vector<std::string> lists;
    for (const auto& list : value) lists.push_back(fmt::format("[{}]", fmt::join(list, ", ")));
    return fmt::format("[{}]", fmt::join(lists, ", "));
  }
  std::string operator()(const std::map<std::string, double>& value) const {
    std::vector<std::string> entries;
    for (const auto& [name, number] : value) entries.push_back(fmt::format("{} = {}", name, number));
    return fmt::format("{{{}}}", fmt::join(entries, ", "));
  }
  std::string operator()(const std::map<std::string, std::vector<Nanos>>& value) const {
    std::vector<std::string> entries;
    for (const auto& [name, times] : value) {
      std::vector<std::string> texts;
      for (const Nanos time : times) texts.push_back(duration_text(time));
      entries.push_back(fmt::format("{} = [{}]", name, fmt::join(texts, ", ")));
    }
    return fmt::format("{{{}}}", fmt::join(entries, ", "));
  }
};

/// ` of at least 1 and at most 9`, or nothing. Bounds that only keep numbers sane are not told.
std::string range_text(const Key& key) {
  constexpr double kSanity = 256;
  std::string text;
  if (std::isfinite(key.minimum)) {
    text = fmt::format(" {} {}", key.above_minimum ? "above" : "of at least", key.minimum);
  }
  if (std::isfinite(key.maximum) && key.maximum < kSanity) {
    text += fmt::format("{} at most {}", text.empty() ? " of" : " and", key.maximum);
  }
  return text;
}

std::string choices_text(const Key& key, std::string_view separator) {
  return fmt::format("{}", fmt::join(key.choices(), separator));
}

/// What stands in a table cell must not end it.
std::string cell_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string option_values(const ScheduleOption& option) {
  if (!option.choices.empty()) return fmt::format("one of {}", fmt::join(option.choices, ", "));
  return fmt::format("a {} of at least {}", option.integer ? "whole number" : "number", option.minimum);
}

}  // namespace

std::string expected_value(const Key& key) {
  switch (key.type) {
    case KeyType::text:
      return key.choices != nullptr ? "one of " + choices_text(key, ", ") : "a text in quotes";
    case KeyType::path: return "a path in quotes";
    case KeyType::integer: return "a whole number" + range_text(key);
    case KeyType::number: return "a number" + range_text(key);
    case KeyType::boolean: return "true or false";
    case KeyType::duration: return "a duration such as \"10us\" (a bare number is ms)";
    case KeyType::size: return "a size such as \"16GB\" or \"64MiB\" (a bare number is bytes)";
    case KeyType::bandwidth:
      return "a bandwidth such as \"25GB/s\" or \"100Gbit/s\" (a bare number is bytes/s)";
    case KeyType::integers: return "a list of whole numbers" + range_text(key);
    case KeyType::texts: return "a list out of " + choices_text(key, ", ");
    case KeyType::core_sets: return "one list of core numbers per rank, such as [[0], [1]]";
    case KeyType::numbers: return "a table of numbers, such as {a = 0.5, b = 1}";
    case KeyType::stages: return "\"all\" or a list of stage numbers, such as [0, 1]";
    case KeyType::durations:
      return "a table of durations or lists of them, such as {F = \"1ms\", B = [2, 3]}, of " +
             choices_text(key, ", ");
  }
  return {};
}

std::string default_value(const Key& key) {
  if (!key.default_text.empty()) return std::string(key.default_text);
  return std::visit(ValueText{key.type}, key.get(Scenario{}));
}

std::string scenario_reference() {
  std::string text;
  for (const KeySection& section : key_sections()) {
    text += fmt::format("### {0}{1}{2}\n\n{3}\n\n| key | values | unit | default | meaning |\n|---|---|---|---|---|\n",
                        section.list ? "[[" : "[", section.name, section.list ? "]]" : "]", section.meaning);
    for (const Key& key : scenario_keys()) {
      if (key.section != section.name) continue;
      const bool word = key.default_text.empty();
      text += fmt::format("| `{}` | {} | {} | {}{}{} | {} |\n", key.name, cell_text(expected_value(key)), key.unit,
                          word ? "`" : "", cell_text(default_value(key)), word ? "`" : "", cell_text(key.meaning));
    }
    text += "\n";
  }
  text += "### Options of the schedules\n\nThey stand in the schedule's own `[[schedule]]`. Gradient clipping and accumulation follow from "
          "`[training]`.\n\n| schedule | option | values | default | meaning |\n|---|---|---|---|---|\n";
  for (const Schedule& schedule : schedules()) {
    for (const ScheduleOption& option : schedule.options) {
      if (!derived_from(option.name).empty()) continue;
      text += fmt::format("| `{}` | `{}` | {} | `{}` | {} |\n", schedule.name, option.name,
                          cell_text(option_values(option)), option.default_value, cell_text(option.meaning));
    }
  }
  return text;
}

}  // namespace bubblescope
