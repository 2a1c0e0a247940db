// Escaping of text for JSON, HTML and Markdown, for the writers that stream.
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

/// Text for a line of Markdown: nothing in it starts markup.
std::string markdown_text(std::string_view text);

/// A fenced block, its fence longer than any run of backticks in it.
std::string markdown_fence(std::string_view text, std::string_view language);

}  // namespace bubblescope
