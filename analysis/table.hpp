// Plain aligned tables for the terminal and Markdown, from one set of cells.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bubblescope {

enum class Align { left, right };

struct Column {
  std::string title;
  Align align = Align::left;
};

/// Cells are text; a row shorter than the columns is filled up with empty cells.
struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;
};

/// Columns of a terminal that UTF-8 text takes: combining marks none, East Asian wide characters and
/// emoji two. Control characters count as nothing.
std::size_t display_width(std::string_view text);

/// Without the columns in which no row has anything; the first always stays.
Table without_empty_columns(const Table& table);

/// Columns aligned with two spaces between them, a rule under the titles, no trailing spaces.
/// Titles wider than what is under them are broken at their spaces. Line breaks and control characters in cells become spaces.
std::string to_text(const Table& table);

/// A GitHub table; `|`, `<` and line breaks in cells are escaped.
std::string to_markdown(const Table& table);

}  // namespace bubblescope
