// The report as Markdown.
#include <gtest/gtest.h>

#include "analysis/report.hpp"
#include "tests/analysis/build_report.hpp"

namespace bubblescope {
namespace {

TEST(Markdown, has_all_sections) {
  ReportModel model = small_report();
  complete(model);
  const std::string text = report_markdown(model);
  EXPECT_EQ(text.rfind("# Two ranks\n", 0), 0u);
  for (const char* part : {"## Summary", "## Idle time by four definitions", "\n## gpipe\n", "\n## 1f1b\n", "## Command",
                           "bubblescope run two.toml", "```toml\n[model]", "* broken: deadlock: rank 0: 0SEND\\_F1", "* a note"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part;
  }
}

TEST(Markdown, escapes_text_and_fences_longer_than_what_they_hold) {
  ReportModel model = small_report();
  model.title = kHostile;
  model.schedules[2].label = kHostile;
  model.scenario = "a = '''\n```\n````\n'''";
  complete(model);
  const std::string text = report_markdown(model);
  EXPECT_EQ(text.find("<img"), std::string::npos);
  EXPECT_EQ(text.find("</script"), std::string::npos);
  EXPECT_NE(text.find("\n`````toml\n"), std::string::npos);
}

}  // namespace
}  // namespace bubblescope
