// Escaping for JSON and HTML.
#include "analysis/escape.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck.h>

namespace bubblescope {
namespace {

TEST(Escape, json_strings_read_back_and_cannot_end_a_script) {
  const std::string text = "a\"b\\c\n\t\x01 </script> & µ \xe2\x80\xa8 end";
  const std::string written = json_string(text);
  EXPECT_EQ(nlohmann::json::parse(written), text);
  EXPECT_EQ(written.find('<'), std::string::npos);
  EXPECT_EQ(written.find('&'), std::string::npos);
  EXPECT_EQ(written.find("\xe2\x80\xa8"), std::string::npos);
}

TEST(Escape, bytes_that_are_not_utf8_become_the_replacement_character) {
  EXPECT_EQ(json_string("a\xff" "b"), "\"a\xef\xbf\xbd" "b\"");
  EXPECT_EQ(json_string("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");  // an overlong slash
  EXPECT_EQ(html_text("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");  // half of a pair
  EXPECT_EQ(html_text("\xe2\x82"), "\xef\xbf\xbd\xef\xbf\xbd");  // cut short
}

TEST(Escape, html_text_has_no_markup_left) {
  EXPECT_EQ(html_text("<a href=\"x\">'&'</a>"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
}

TEST(Escape, any_bytes_give_valid_json) {
  const bool ok = rc::check([](const std::string& text) {
    RC_ASSERT(nlohmann::json::accept(json_string(text)));
    RC_ASSERT(html_text(text).find('<') == std::string::npos);
  });
  EXPECT_TRUE(ok);
}

}  // namespace
}  // namespace bubblescope
