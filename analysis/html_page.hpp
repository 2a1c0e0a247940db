// The frame of a report's page, and tables in it.
#pragma once

#include <string>
#include <string_view>

#include "analysis/table.hpp"

namespace bubblescope {

/// What goes into the frame (reports/viewer/page.html). All but the title is HTML already.
struct HtmlPage {
  std::string title;
  std::string body;
  std::string data;              ///< script elements that `script` reads; may be empty
  std::string_view script = {};  ///< may be empty
};

/// A self-contained page with the viewer's style.
std::string html_page(const HtmlPage& page);

std::string html_table(const Table& table);

}  // namespace bubblescope
