// Pages from the viewer's frame.
#include "analysis/html_page.hpp"

#include <fmt/format.h>

#include "analysis/escape.hpp"
#include "analysis/viewer_assets.hpp"

namespace bubblescope {

std::string html_page(const HtmlPage& page) {
  std::string_view rest = viewer_template();
  std::string out;
  while (!rest.empty()) {  // one pass: what is put in is not looked at again
    const std::size_t mark = rest.find("{{");
    out += rest.substr(0, mark);
    if (mark == std::string_view::npos) break;
    const std::size_t end = rest.find("}}", mark);
    const std::string_view name = rest.substr(mark + 2, end - mark - 2);
    if (name == "TITLE") out += html_text(page.title);
    else if (name == "STYLE") out += viewer_style();
    else if (name == "BODY") out += page.body;
    else if (name == "DATA") out += page.data;
    else if (name == "SCRIPT") out += page.script;
    rest.remove_prefix(end + 2);
  }
  return out;
}

std::string html_table(const Table& table) {
  std::string out = "<div class=\"scroll\"><table>\n<thead><tr>";
  const auto open = [&](const char* tag, std::size_t c) {
    return fmt::format("<{}{}>", tag, table.columns[c].align == Align::right ? " class=\"number\"" : "");
  };
  for (std::size_t c = 0; c < table.columns.size(); ++c) out += open("th", c) + html_text(table.columns[c].title) + "</th>";
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    out += "<tr>";
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      out += open("td", c) + html_text(c < row.size() ? row[c] : "") + "</td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace bubblescope
