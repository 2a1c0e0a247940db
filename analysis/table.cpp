// Lays out tables for terminal and Markdown.
#include "analysis/table.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace bubblescope {
namespace {

// The next code point of `text`, taken off its front; a byte that is not UTF-8 counts for itself.
std::uint32_t next_code_point(std::string_view& text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  std::size_t length = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  length = std::min(length, text.size());
  std::uint32_t point = length == 1 ? lead : lead & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) point = point << 6 | (static_cast<unsigned char>(text[i]) & 0x3fu);
  text.remove_prefix(length);
  return point;
}

bool within(std::uint32_t point, std::initializer_list<std::pair<std::uint32_t, std::uint32_t>> ranges) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const auto& r) { return point >= r.first && point <= r.second; });
}

std::size_t width_of(std::uint32_t point) {
  if (point < 0x20 || (point >= 0x7f && point < 0xa0)) return 0;
  if (within(point, {{0x300, 0x36f}, {0x483, 0x489}, {0x591, 0x5bd}, {0x610, 0x61a}, {0x64b, 0x65f}, {0x1ab0, 0x1aff},
                     {0x1dc0, 0x1dff}, {0x200b, 0x200f}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}})) {
    return 0;
  }
  return within(point, {{0x1100, 0x115f}, {0x2e80, 0x303e}, {0x3041, 0xa4cf}, {0xac00, 0xd7a3}, {0xf900, 0xfaff},
                        {0xfe30, 0xfe4f}, {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff},
                        {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}})
             ? 2
             : 1;
}

std::string one_line(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return out;
}

std::string markdown_cell(std::string_view text) {
  std::string out;
  for (const char c : one_line(text)) {
    if (c == '|') out += "\\|";
    else if (c == '<') out += "&lt;";
    else if (c == '&') out += "&amp;";
    else out += c;
  }
  return out;
}

const std::string& cell_at(const std::vector<std::string>& row, std::size_t column) {
  static const std::string kEmpty;
  return column < row.size() ? row[column] : kEmpty;
}

std::string padded(const std::string& text, std::size_t width, Align align) {
  const std::string space(width - std::min(width, display_width(text)), ' ');
  return align == Align::right ? space + text : text + space;
}

// `text` in lines of at most `width`, broken at its spaces.
std::vector<std::string> wrapped(const std::string& text, std::size_t width) {
  std::vector<std::string> lines(1);
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (lines.back().empty()) {
      lines.back() = word;
    } else if (display_width(lines.back()) + 1 + display_width(word) <= width) {
      lines.back() += ' ' + word;
    } else {
      lines.push_back(word);
    }
    begin = end + 1;
  }
  return lines;
}

// The rows above the rule: each title in as many lines as it takes, the last ones on the rule.
std::vector<std::vector<std::string>> title_rows(const std::vector<std::string>& titles, const std::vector<std::size_t>& widths) {
  std::vector<std::vector<std::string>> lines;
  std::size_t height = 0;
  for (std::size_t c = 0; c < titles.size(); ++c) {
    lines.push_back(wrapped(titles[c], widths[c]));
    height = std::max(height, lines.back().size());
  }
  std::vector<std::vector<std::string>> rows(height, std::vector<std::string>(titles.size()));
  for (std::size_t c = 0; c < titles.size(); ++c) {
    for (std::size_t i = 0; i < lines[c].size(); ++i) rows[height - lines[c].size() + i][c] = lines[c][i];
  }
  return rows;
}

// Both layouts: `line` joins padded cells, `rule` draws what is under the titles; `narrow` breaks titles
// into lines.
template <typename Clean, typename Line, typename Rule>
std::string lay_out(const Table& table, Clean clean, Line line, Rule rule, bool narrow) {
  std::vector<std::string> titles;
  std::vector<std::vector<std::string>> cells;
  std::vector<std::size_t> widths;
  for (const Column& column : table.columns) titles.push_back(clean(column.title));
  for (const auto& row : table.rows) {
    cells.emplace_back();
    for (std::size_t c = 0; c < table.columns.size(); ++c) cells.back().push_back(clean(cell_at(row, c)));
  }
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    std::size_t width = 3;
    for (const std::string& word : wrapped(titles[c], narrow ? 0 : display_width(titles[c]))) width = std::max(width, display_width(word));
    for (const auto& row : cells) width = std::max(width, display_width(row[c]));
    widths.push_back(width);
  }
  std::string out;
  const auto add = [&](const std::vector<std::string>& row) {
    std::vector<std::string> padded_row;
    for (std::size_t c = 0; c < widths.size(); ++c) padded_row.push_back(padded(row[c], widths[c], table.columns[c].align));
    out += line(padded_row);
  };
  for (const auto& row : title_rows(titles, widths)) add(row);
  out += rule(widths);
  for (const auto& row : cells) add(row);
  return out;
}

std::string repeat(std::string_view text, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) width += width_of(next_code_point(text));
  return width;
}

Table without_empty_columns(const Table& table) {
  Table result;
  result.rows.resize(table.rows.size());
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const bool used = c == 0 || std::any_of(table.rows.begin(), table.rows.end(), [&](const auto& row) {
      return c < row.size() && !row[c].empty();
    });
    if (!used) continue;
    result.columns.push_back(table.columns[c]);
    for (std::size_t r = 0; r < table.rows.size(); ++r) {
      result.rows[r].push_back(c < table.rows[r].size() ? table.rows[r][c] : "");
    }
  }
  return result;
}

std::string to_text(const Table& table) {
  const auto line = [](const std::vector<std::string>& cells) {
    std::string out;
    for (std::size_t c = 0; c < cells.size(); ++c) out += (c ? "  " : "") + cells[c];
    out.erase(out.find_last_not_of(' ') + 1);
    return out + '\n';
  };
  const auto rule = [](const std::vector<std::size_t>& widths) {
    std::string out;
    for (std::size_t c = 0; c < widths.size(); ++c) out += (c ? "  " : "") + repeat("─", widths[c]);
    return out + '\n';
  };
  return lay_out(table, one_line, line, rule, true);
}

std::string to_markdown(const Table& table) {
  const auto line = [](const std::vector<std::string>& cells) {
    std::string out = "|";
    for (const std::string& cell : cells) out += ' ' + cell + " |";
    return out + '\n';
  };
  const auto rule = [&](const std::vector<std::size_t>& widths) {
    std::string out = "|";
    for (std::size_t c = 0; c < widths.size(); ++c) {
      const bool right = table.columns[c].align == Align::right;
      out += ' ' + std::string(widths[c] - right, '-') + (right ? ": |" : " |");
    }
    return out + '\n';
  };
  return lay_out(table, markdown_cell, line, rule, false);
}

}  // namespace bubblescope
