// The page's fixed parts (reports/viewer), put into the library when it is built.
#pragma once

#include <string_view>

namespace bubblescope {

std::string_view viewer_template();  ///< HTML with {{TITLE}}, {{STYLE}}, {{BODY}}, {{DATA}}, {{SCRIPT}}
std::string_view viewer_style();
std::string_view viewer_script();

}  // namespace bubblescope
