// Places and messages of JSON files.
#include "sim/core/json_reader.hpp"

#include <fmt/format.h>

#include "sim/core/error.hpp"

namespace bubblescope {

JsonReader JsonReader::at(const char* key) const {
  std::string path = path_.empty() ? key : path_ + "." + key;
  if (!has(key)) throw InputError(fmt::format("{}: '{}' is missing", file_, path));
  return {value_.at(key), std::move(path), file_};
}

std::vector<JsonReader> JsonReader::items() const {
  if (!value_.is_array()) refuse("an array");
  std::vector<JsonReader> all;
  for (std::size_t i = 0; i < value_.size(); ++i) all.push_back({value_[i], fmt::format("{}[{}]", path_, i), file_});
  return all;
}

std::string JsonReader::text() const {
  if (!value_.is_string()) refuse("a text");
  return value_.get<std::string>();
}

std::map<std::string, std::string> JsonReader::texts() const {
  if (!value_.is_object()) refuse("an object of texts");
  std::map<std::string, std::string> all;
  for (const auto& [key, value] : value_.items()) all[key] = JsonReader(value, path_ + "." + key, file_).text();
  return all;
}

std::int64_t JsonReader::number(std::int64_t minimum, std::int64_t maximum) const {
  if (!value_.is_number_integer()) refuse("a whole number");
  const bool beyond = value_.is_number_unsigned() && value_.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!beyond && value_.get<std::int64_t>() >= minimum && value_.get<std::int64_t>() <= maximum) return value_.get<std::int64_t>();
  refuse(maximum == std::numeric_limits<std::int64_t>::max() ? fmt::format("at least {}", minimum) : fmt::format("{} to {}", minimum, maximum));
}

void JsonReader::refuse(std::string_view expected) const {
  constexpr std::size_t kShown = 60;
  std::string shown = value_.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (shown.size() > kShown) shown = shown.substr(0, kShown) + "...";
  throw InputError(fmt::format("{}: '{}' is {}; expected {}", file_, path_, shown, expected));
}

nlohmann::json parse_json(std::string_view text, const std::string& file, std::string_view expected) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw InputError(fmt::format("{}: not JSON, or cut short, at byte {}; expected {}", file, error.byte, expected));
  }
}

}  // namespace bubblescope
