// `SECTION.KEY=VALUE` as a small TOML document.
#include "sim/scenario/overrides.hpp"

#include <fmt/format.h>

#include <optional>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

/// A TOML string of any bytes.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04X}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// The document, if it is one and holds nothing but the one key.
std::optional<toml::table> one_key(const std::string& text, const std::string& section, const std::string& origin) {
  try {
    toml::table document = toml::parse(text, origin);
    const toml::table* table = document[section].as_table();
    if (document.size() == 1 && table != nullptr && table->size() == 1) return document;
  } catch (const toml::parse_error&) {
  }
  return std::nullopt;
}

}  // namespace

Override parse_override(std::string_view text, bool (*is_list)(std::string_view section)) {
  Override result;
  result.origin = fmt::format("--set {}", text);
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) {
    throw InputError(result.origin + ": there is no value; expected SECTION.KEY=VALUE, such as training.batch=64");
  }
  const std::string_view path = text.substr(0, equals);
  const auto dot = path.find('.');
  if (dot == std::string_view::npos) {
    throw InputError(fmt::format("{}: '{}' stands in no section; expected SECTION.KEY=VALUE, such as training.batch=64", result.origin, path));
  }
  result.section = path.substr(0, dot);
  std::string_view key = path.substr(dot + 1);
  if (is_list(result.section)) {
    const auto last = key.rfind('.');
    if (last == std::string_view::npos) {
      throw InputError(fmt::format("{}: it does not say which [[{}]]; expected {}.NAME.KEY=VALUE", result.origin, result.section, result.section));
    }
    result.which = key.substr(0, last);
    key = key.substr(last + 1);
  }
  const std::string head = fmt::format("[{}]\n{} = ", quoted(result.section), quoted(key));
  auto document = one_key(head + std::string(text.substr(equals + 1)), result.section, result.origin);
  if (!document) document = one_key(head + quoted(text.substr(equals + 1)), result.section, result.origin);
  if (!document) throw InputError(result.origin + ": it cannot be read; expected SECTION.KEY=VALUE in UTF-8");
  result.document = std::move(*document);
  return result;
}

std::string overrides_comment(std::span<const std::string> overrides) {
  if (overrides.empty()) return {};
  std::string text = "\n# Overridden on the command line:\n";
  for (const std::string& one : overrides) {
    text += "# --set ";
    for (const char c : one) text += c == '\n' || c == '\r' ? ' ' : c;
    text += '\n';
  }
  return text;
}

}  // namespace bubblescope
