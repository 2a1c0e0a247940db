// The one table of all scenario keys: the loader walks a file against it, and the reference in
// scenarios/README.md is printed from it.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sim/scenario/scenario.hpp"

namespace bubblescope {

/// How a key's value is written.
enum class KeyType : std::uint8_t {
  text,
  path,        ///< text; a relative path starts at the scenario's folder
  integer,
  number,
  boolean,
  duration,    ///< text with a unit, or a number of milliseconds
  size,        ///< text with a unit, or a number of bytes
  bandwidth,   ///< text with a unit, or a number of bytes per second
  integers,    ///< list of integers
  texts,       ///< list of texts
  core_sets,   ///< list of lists of integers
  numbers,     ///< table: name -> number
  durations,   ///< table: name -> duration, or list of durations
  stages,      ///< `all` or a list of stage numbers; read as text, `0:2` (sim/lower/recompute.hpp)
};

/// A value in the form that a key's type has once it is read. Durations and sizes are integers.
using KeyValue = std::variant<std::string, std::int64_t, double, bool, std::vector<std::int64_t>,
                              std::vector<std::string>, std::vector<std::vector<int>>,
                              std::map<std::string, double>,
                              std::map<std::string, std::vector<Nanos>>>;

/// One section of a scenario file.
struct KeySection {
  std::string_view name = {};
  std::string_view meaning = {};
  bool list = false;  ///< `[[name]]`, any number of times
};

/// One key. `set` writes a value of the right type into the scenario; in a list section into the
/// list's last element. `get` is its inverse: on `Scenario{}` it gives the default.
struct Key {
  std::string_view section = {};
  std::string_view name = {};
  KeyType type = KeyType::text;
  std::string_view unit = {};
  std::vector<std::string> (*choices)() = nullptr;  ///< allowed words (names, in a table)
  bool open = false;  ///< other words may do, too: check_scenario decides
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool above_minimum = false;  ///< the minimum itself is not allowed
  std::string_view default_text = {};  ///< what the default means, where its value does not say it
  std::string_view meaning = {};
  void (*set)(Scenario&, const KeyValue&) = nullptr;
  KeyValue (*get)(const Scenario&) = nullptr;
};

std::span<const KeySection> key_sections();
std::span<const Key> scenario_keys();

/// The key of that section and name, or null.
const Key* find_key(std::string_view section, std::string_view name);
/// Names of a section's keys, in table order.
std::vector<std::string> key_names(std::string_view section);

/// What a key takes, in words: `a whole number of at least 1`, `one of sgd, adamw`.
std::string expected_value(const Key& key);
/// The default as it would stand in a file, or what it means.
std::string default_value(const Key& key);

}  // namespace bubblescope
