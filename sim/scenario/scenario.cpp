// Reads scenario files: TOML against the table of keys.
#include "sim/scenario/scenario.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include "sim/core/error.hpp"
#include "sim/core/read_file.hpp"
#include "sim/core/units.hpp"
#include "sim/scenario/check.hpp"
#include "sim/scenario/draft.hpp"
#include "sim/scenario/keys.hpp"
#include "sim/scenario/overrides.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

/// What a value is, for people.
std::string type_text(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "a list";
    case toml::node_type::string: return "a text";
    case toml::node_type::integer: return "a whole number";
    case toml::node_type::floating_point: return "a number";
    case toml::node_type::boolean: return "true or false";
    default: return "a date or time";
  }
}

/// Walks one parsed file. Everything it finds wrong is an InputError with its place.
class Reader {
 public:
  Reader(std::string file, Places& places) : file_(std::move(file)), places_(places) {}

  void read(const toml::table& root, Scenario& scenario) {
    for (const auto& [name, node] : root) read_section(name, node, scenario);
  }

  /// In place of what was read before.
  void read(const Override& change, Scenario& scenario) {
    if (!is_list(change.section)) {
      read(change.document, scenario);
      return;
    }
    std::vector<std::string> names;
    bool found = false;
    for (std::size_t i = 0; i < scenario.schedules.size(); ++i) {
      ScheduleConfig& schedule = scenario.schedules[i];
      const std::string& name = schedule.label.empty() ? schedule.name : schedule.label;
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      if (change.which != schedule.name && change.which != schedule.label) continue;
      found = true;
      // Keys of a list section are set in its last element.
      std::swap(schedule, scenario.schedules.back());
      for (const auto& [key, node] : *change.document[change.section].as_table()) {
        read_key(key, node, *find_section(change.section), fmt::format("{}.{}", change.section, i), scenario);
      }
      std::swap(schedule, scenario.schedules.back());
    }
    if (found) return;
    throw InputError(fmt::format("{}: no [[{}]] is called '{}'; expected one of {}{}", change.origin, change.section, change.which,
                                 fmt::join(names, ", "), suggestion(change.which, names)));
  }

  static bool is_list(std::string_view section) {
    const KeySection* found = find_section(section);
    return found != nullptr && found->list;
  }

  [[noreturn]] void fail(const toml::source_region& source, std::string_view text) const {
    throw InputError(fmt::format("{}: {}", place_text(file_, place_of(source)), text));
  }

 private:
  static const KeySection* find_section(std::string_view name) {
    const auto sections = key_sections();
    const auto section = std::find_if(sections.begin(), sections.end(), [&](const KeySection& s) { return s.name == name; });
    return section == sections.end() ? nullptr : &*section;
  }

  /// What was not read from the file comes from a flag.
  Place place_of(const toml::source_region& source) const {
    if (source.path != nullptr && *source.path != file_) return {.flag = *source.path};
    return {source.begin.line, source.begin.column};
  }

  void read_section(const toml::key& name, const toml::node& node, Scenario& scenario) {
    const KeySection* section = find_section(name.str());
    if (section == nullptr) fail_section(name, node);
    if (!section->list) {
      const toml::table* table = node.as_table();
      if (table == nullptr) {
        fail(name.source(), fmt::format("'{0}' is {1}; expected a section [{0}]", name.str(), type_text(node)));
      }
      places_.try_emplace(std::string(name.str()), place_of(name.source()));
      read_keys(*table, *section, std::string(name.str()), scenario);
      return;
    }
    const toml::array* array = node.as_array();
    const bool tables = array != nullptr && array->is_homogeneous(toml::node_type::table);
    if (!tables) {
      fail(name.source(), fmt::format("'{0}' is {1}; expected one or more sections [[{0}]]", name.str(),
                                      node.is_table() ? "a single section" : type_text(node)));
    }
    for (const toml::node& element : *array) {
      const std::string path = fmt::format("{}.{}", name.str(), scenario.schedules.size());
      places_.emplace(path, place_of(element.source()));
      scenario.schedules.emplace_back();
      read_keys(*element.as_table(), *section, path, scenario);
    }
  }

  [[noreturn]] void fail_section(const toml::key& name, const toml::node& node) const {
    std::vector<std::string> names;
    for (const KeySection& section : key_sections()) names.emplace_back(section.name);
    if (node.is_table() || node.is_array_of_tables()) {
      fail(name.source(), fmt::format("unknown section [{}]; expected one of {}{}", name.str(), fmt::join(names, ", "),
                                      suggestion(name.str(), names)));
    }
    fail(name.source(), fmt::format("the key '{}' stands outside any section; expected it {}", name.str(),
                                    home_of(name.str()).empty() ? "in a section such as [model]"
                                                                : "in " + home_of(name.str())));
  }

  /// `[training]`: the sections that have a key of that name, or nothing.
  static std::string home_of(std::string_view name) {
    std::vector<std::string> homes;
    for (const Key& key : scenario_keys()) {
      if (key.name == name) homes.push_back(fmt::format("[{}]", key.section));
    }
    return fmt::format("{}", fmt::join(homes, " or "));
  }

  void read_keys(const toml::table& table, const KeySection& section, const std::string& path, Scenario& scenario) {
    // Schedule options need the schedule's name, which may stand after them.
    if (section.list && !table.contains("name")) {
      fail(table.source(), fmt::format("[[{}]] has no name; expected name = \"...\"", section.name));
    }
    for (const auto& [name, node] : table) read_key(name, node, section, path, scenario);
  }

  void read_key(const toml::key& name, const toml::node& node, const KeySection& section, const std::string& path, Scenario& scenario) {
    places_.insert_or_assign(fmt::format("{}.{}", path, name.str()), place_of(name.source()));
    if (const Key* key = find_key(section.name, name.str())) {
      key->set(scenario, value(*key, node));
    } else if (section.list) {
      scenario.schedules.back().options.insert_or_assign(std::string(name.str()), option_text(node, name));
    } else {
      const auto names = key_names(section.name);
      const std::string home = home_of(name.str());
      fail(name.source(),
           fmt::format("unknown key '{}' in [{}]; expected one of {}{}", name.str(), section.name, fmt::join(names, ", "),
                       home.empty() ? suggestion(name.str(), names) : fmt::format("; '{}' is a key of {}", name.str(), home)));
    }
  }

  std::string option_text(const toml::node& node, const toml::key& name) const {
    if (const auto text = node.value_exact<std::string>()) return *text;
    if (const auto integer = node.value_exact<std::int64_t>()) return fmt::format("{}", *integer);
    if (const auto number = node.value_exact<double>()) return fmt::format("{}", *number);
    if (const auto boolean = node.value_exact<bool>()) return *boolean ? "true" : "false";
    fail(node.source(), fmt::format("the option '{}' is {}; expected a number or a text", name.str(), type_text(node)));
  }

  [[noreturn]] void fail_type(const Key& key, const toml::node& node) const {
    fail(node.source(), fmt::format("'{}' is {}; expected {}", key.name, type_text(node), expected_value(key)));
  }

  KeyValue value(const Key& key, const toml::node& node) const {
    switch (key.type) {
      case KeyType::text: return word(key, node);
      case KeyType::path: return text(key, node);
      case KeyType::integer: return integer(key, node);
      case KeyType::number: return number(key, node);
      case KeyType::boolean:
        if (const auto boolean = node.value_exact<bool>()) return *boolean;
        fail_type(key, node);
      case KeyType::duration: return quantity(key, node, parse_duration);
      case KeyType::size: return quantity(key, node, parse_bytes);
      case KeyType::bandwidth: return quantity(key, node, parse_bandwidth);
      case KeyType::integers:
        return list<std::int64_t>(key, node, [&](const toml::node& n) { return integer(key, n); });
      case KeyType::texts: return list<std::string>(key, node, [&](const toml::node& n) { return word(key, n); });
      case KeyType::core_sets:
        return list<std::vector<int>>(key, node, [&](const toml::node& inner) {
          return list<int>(key, inner, [&](const toml::node& n) { return static_cast<int>(integer(key, n)); });
        });
      case KeyType::numbers:
        return table<double>(key, node, [&](const toml::node& n) { return number(key, n); });
      case KeyType::durations:
        return table<std::vector<Nanos>>(key, node, [&](const toml::node& inner) {
          const auto one = [&](const toml::node& n) { return quantity(key, n, parse_duration); };
          return inner.is_array() ? list<Nanos>(key, inner, one) : std::vector<Nanos>{one(inner)};
        });
      case KeyType::stages: return stages(key, node);
    }
    fail_type(key, node);
  }

  std::string text(const Key& key, const toml::node& node) const {
    if (const auto value = node.value_exact<std::string>()) return *value;
    fail_type(key, node);
  }

  std::string stages(const Key& key, const toml::node& node) const {
    if (node.value_exact<std::string>() == "all") return "all";
    if (!node.is_array()) fail_type(key, node);
    return fmt::format("{}", fmt::join(list<std::int64_t>(key, node, [&](const toml::node& n) { return integer(key, n); }), ":"));
  }

  /// A text, where the key has choices one of those.
  std::string word(const Key& key, const toml::node& node) const {
    const std::string value = text(key, node);
    if (key.choices != nullptr && !key.open) require_choice(key, value, node.source());
    return value;
  }

  void require_choice(const Key& key, const std::string& value, const toml::source_region& source) const {
    const auto choices = key.choices();
    if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
    fail(source, fmt::format("unknown {} '{}'; expected one of {}{}", noun(key), value, fmt::join(choices, ", "),
                             suggestion(value, choices)));
  }

  /// What the words of a key name, for messages: `model`, `device`, `schedule`, else the key itself.
  static std::string noun(const Key& key) {
    return std::string(key.name == "name" ? key.section : key.name);
  }

  std::int64_t integer(const Key& key, const toml::node& node) const {
    const auto value = node.value_exact<std::int64_t>();
    if (!value) fail_type(key, node);
    require_range(key, static_cast<double>(*value), node);
    return *value;
  }

  double number(const Key& key, const toml::node& node) const {
    const auto value = node.is_number() ? node.value<double>() : std::nullopt;
    if (!value) fail_type(key, node);
    require_range(key, *value, node);
    return *value;
  }

  /// A number, or a text that `parse` reads (bare numbers go through it, too).
  template <typename T>
  T quantity(const Key& key, const toml::node& node, T (*parse)(std::string_view)) const {
    if (!node.is_number() && !node.is_string()) fail_type(key, node);
    const std::string text = node.is_string()  ? *node.value_exact<std::string>()
                             : node.is_integer() ? fmt::format("{}", *node.value_exact<std::int64_t>())
                                                 : fmt::format("{}", *node.value_exact<double>());
    try {
      return parse(text);
    } catch (const InputError& error) {
      fail(node.source(), fmt::format("'{}': {}", key.name, error.what()));
    }
  }

  void require_range(const Key& key, double value, const toml::node& node) const {
    const bool low = key.above_minimum ? !(value > key.minimum) : !(value >= key.minimum);
    if (!low && value <= key.maximum && std::isfinite(value)) return;
    std::string expected = expected_value(key);
    if (!low && std::isfinite(key.maximum)) expected = fmt::format("at most {}", key.maximum);
    fail(node.source(), fmt::format("'{}' is {}; expected {}", key.name, value, expected));
  }

  template <typename T, typename Convert>
  std::vector<T> list(const Key& key, const toml::node& node, Convert convert) const {
    const toml::array* array = node.as_array();
    if (array == nullptr) fail_type(key, node);
    if (array->empty()) {
      fail(node.source(), fmt::format("'{}' has an empty list; expected {}", key.name, expected_value(key)));
    }
    std::vector<T> values;
    for (const toml::node& element : *array) values.push_back(convert(element));
    return values;
  }

  template <typename T, typename Convert>
  std::map<std::string, T> table(const Key& key, const toml::node& node, Convert convert) const {
    const toml::table* table = node.as_table();
    if (table == nullptr) fail_type(key, node);
    std::map<std::string, T> values;
    for (const auto& [name, element] : *table) {
      if (key.choices != nullptr) require_choice(key, std::string(name.str()), name.source());
      values.emplace(name.str(), convert(element));
    }
    return values;
  }

  std::string file_;
  Places& places_;
};

/// A relative path in a scenario starts at the scenario's folder.
void anchor(std::filesystem::path& path, const std::filesystem::path& folder) {
  if (!path.empty() && path.is_relative() && !folder.empty()) path = folder / path;
}

}  // namespace

std::string ScheduleConfig::default_label() const {
  std::string text = name;
  for (const auto& [option, value] : options) text += fmt::format(" {}={}", option, value);
  if (!recompute.empty()) text += fmt::format(" recompute={}", recompute);
  return text;
}

ScenarioDraft draft_scenario(std::string_view text, const std::string& file) {
  ScenarioDraft draft;
  draft.scenario.text = text;
  draft.scenario.file = file;
  Reader reader(file, draft.places);
  try {
    reader.read(toml::parse(text, file), draft.scenario);
  } catch (const toml::parse_error& error) {
    reader.fail(error.source(), fmt::format("{}; expected valid TOML (https://toml.io)", error.description()));
  }
  return draft;
}

void apply_overrides(ScenarioDraft& draft, std::span<const std::string> overrides) {
  draft.scenario.text += overrides_comment(overrides);
  Reader reader(draft.scenario.file.string(), draft.places);
  for (const std::string& change : overrides) reader.read(parse_override(change, Reader::is_list), draft.scenario);
}

std::filesystem::path profile_file(const ScenarioDraft& draft) {
  std::filesystem::path file = draft.scenario.costs.profile;
  anchor(file, draft.scenario.file.parent_path());
  return file;
}

Scenario finish_scenario(ScenarioDraft draft) {
  Scenario& scenario = draft.scenario;
  if (scenario.name.empty()) scenario.name = scenario.file.stem().string();
  for (ScheduleConfig& schedule : scenario.schedules) {
    if (schedule.label.empty()) schedule.label = schedule.default_label();
  }
  anchor(scenario.data.path, scenario.file.parent_path());
  scenario.costs.profile = profile_file(draft);
  check_scenario(scenario, draft.places, scenario.file.string());
  return std::move(draft.scenario);
}

Scenario parse_scenario(std::string_view text, const std::string& file, std::span<const std::string> overrides) {
  ScenarioDraft draft = draft_scenario(text, file);
  apply_overrides(draft, overrides);
  return finish_scenario(std::move(draft));
}

Scenario read_scenario(const std::filesystem::path& file, std::span<const std::string> overrides) {
  return parse_scenario(read_file(file, "a scenario file (TOML)"), file.string(), overrides);
}

}  // namespace bubblescope
