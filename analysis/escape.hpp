// Escaping of text for JSON and HTML, for the writers that stream.
#pragma once

#include <string>
#include <string_view>

namespace bubblescope {

/// A JSON string with its quotes. `<`, `>`, `&` and the JavaScript line separators are written as
/// \u escapes, so that it may also stand inside a <script> of a page; bytes that are not UTF-8 become
/// U+FFFD.
std::string json_string(std::string_view text);

/// Text for an element or a quoted attribute of a page.
std::string html_text(std::string_view text);

}  // namespace bubblescope
