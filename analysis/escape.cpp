// Escaping of text for JSON, HTML and Markdown.
#include "analysis/escape.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace bubblescope {
namespace {

// Length of the UTF-8 sequence at the front of `text`, or 0 where it is not one.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (length == 3 && ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f))) return 0;
  if (length == 4 && ((lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f))) return 0;
  return length;
}

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

}  // namespace

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    const std::string_view sequence = length ? text.substr(0, length) : kReplacement;
    const char c = sequence[0];
    if (sequence == "\"" || sequence == "\\") {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (sequence == "\xe2\x80\xa8" || sequence == "\xe2\x80\xa9") {
      out += sequence[2] == '\xa8' ? "\\u2028" : "\\u2029";
    } else if (sequence.size() == 1 && (static_cast<unsigned char>(c) < 0x20 || c == '<' || c == '>' || c == '&' || c == 0x7f)) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += sequence;
    }
    text.remove_prefix(length ? length : 1);
  }
  return out + '"';
}

std::string html_text(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    const std::string_view sequence = length ? text.substr(0, length) : kReplacement;
    switch (sequence[0]) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default:
        if (sequence.size() > 1 || static_cast<unsigned char>(sequence[0]) >= 0x20 || sequence[0] == '\n' || sequence[0] == '\t') {
          out += sequence;
        }
    }
    text.remove_prefix(length ? length : 1);
  }
  return out;
}

std::string markdown_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '&') out += "&amp;";
    else if (c == '\n' || c == '\r') out += ' ';
    else if (std::string_view("\\`*_[]#|").find(c) != std::string_view::npos) (out += '\\') += c;
    else out += c;
  }
  return out;
}

std::string markdown_fence(std::string_view text, std::string_view language) {
  std::size_t longest = 2, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  return fmt::format("{}{}\n{}{}{}\n", fence, language, text, text.empty() || text.back() == '\n' ? "" : "\n", fence);
}

}  // namespace bubblescope
