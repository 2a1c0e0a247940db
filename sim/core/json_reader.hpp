// Walking JSON that a file holds: every mistake is named with the file and the key.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace bubblescope {

/// One value and its place in the file, for messages: `measurements[0].ops[3].alone`. Everything it does not
/// find as expected is an InputError `file: 'place' is ...; expected ...`. It holds references only: file
/// name and parsed document must live on.
class JsonReader {
 public:
  JsonReader(const nlohmann::json& value, std::string path, const std::string& file) : value_(value), path_(std::move(path)), file_(file) {}

  const nlohmann::json& value() const { return value_; }
  const std::string& path() const { return path_; }

  bool has(const char* key) const { return value_.is_object() && value_.contains(key); }
  JsonReader at(const char* key) const;
  std::vector<JsonReader> items() const;
  std::string text() const;
  std::map<std::string, std::string> texts() const;
  /// A whole number from `minimum` to `maximum`.
  std::int64_t number(std::int64_t minimum, std::int64_t maximum = std::numeric_limits<std::int64_t>::max()) const;
  template <typename Integer>
  Integer as(std::int64_t minimum = 0, std::int64_t maximum = std::numeric_limits<Integer>::max()) const {
    return static_cast<Integer>(number(minimum, maximum));
  }

  /// `file: 'place' is VALUE; expected ...`.
  [[noreturn]] void refuse(std::string_view expected) const;

 private:
  const nlohmann::json& value_;
  std::string path_;
  const std::string& file_;
};

/// Parses the text of `file`. Throws InputError where it is no JSON; `expected` is what it should be.
nlohmann::json parse_json(std::string_view text, const std::string& file, std::string_view expected);

}  // namespace bubblescope
