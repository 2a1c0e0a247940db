// Aligned tables.
#include "analysis/table.hpp"

#include <gtest/gtest.h>

namespace bubblescope {
namespace {

TEST(Table, aligns_columns_and_leaves_no_trailing_spaces) {
  const Table table{{{"schedule"}, {"time", Align::right}, {"note"}}, {{"gpipe", "12.5 ms", "a"}, {"1f1b", "9 ms"}}};
  EXPECT_EQ(to_text(table),
            "schedule     time  note\n"
            "────────  ───────  ────\n"
            "gpipe     12.5 ms  a\n"
            "1f1b         9 ms\n");
}

TEST(Table, counts_characters_not_bytes) {
  EXPECT_EQ(display_width("µs"), 2u);
  EXPECT_EQ(display_width("e\xcc\x81"), 1u);         // e and a combining acute accent
  EXPECT_EQ(display_width("流水线"), 6u);
  EXPECT_EQ(display_width("\xf0\x9f\x9a\x80"), 2u);  // a rocket
  EXPECT_EQ(display_width("−3 %"), 4u);
  EXPECT_EQ(display_width(""), 0u);
  const Table table{{{"a"}, {"b", Align::right}}, {{"µµµµ", "1"}, {"x", "22"}}};
  EXPECT_EQ(to_text(table), "a       b\n────  ───\nµµµµ    1\nx      22\n");
}

TEST(Table, breaks_titles_that_are_wider_than_their_columns) {
  const Table table{{{"schedule"}, {"peak memory measured", Align::right}, {"idle time", Align::right}}, {{"gpipe", "1 MiB", "12.5 ms"}}};
  EXPECT_EQ(to_text(table),
            "              peak\n"
            "            memory     idle\n"
            "schedule  measured     time\n"
            "────────  ────────  ───────\n"
            "gpipe        1 MiB  12.5 ms\n");
}

TEST(Table, survives_text_that_is_not_utf8) {
  EXPECT_EQ(display_width("\xf0"), 1u);
  const Table table{{{"a"}}, {{"\xff\xfe"}}};
  EXPECT_FALSE(to_text(table).empty());
}

TEST(Table, escapes_cells_for_markdown) {
  const Table table{{{"name"}, {"n", Align::right}}, {{"a|b <img> & c\nd", "1"}}};
  EXPECT_EQ(to_markdown(table),
            "| name                    |   n |\n"
            "| ----------------------- | --: |\n"
            "| a\\|b &lt;img> &amp; c d |   1 |\n");
}

}  // namespace
}  // namespace bubblescope
