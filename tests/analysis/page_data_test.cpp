// Timelines as columns, and back.
#include "analysis/page_data.hpp"

#include <nlohmann/json.hpp>

#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

using nlohmann::json;

// Reads the columns the way the viewer does.
TEST(PageData, gives_every_span_back) {
  Timeline timeline = pipeline(3, 4, true, 1000, 2100, 70);
  const json columns = json::parse(timeline_columns(timeline, 1));
  ASSERT_EQ(columns["start"].size(), timeline.spans.size());
  std::map<std::string, std::string> seen, expected;
  const auto name = [&](std::size_t i) {
    const int kind = columns["kind"][i];
    return std::to_string(columns["stage"][i].get<int>()) + std::string(mnemonic(static_cast<Kind>(kind))) +
           std::to_string(columns["microbatch"][i].get<int>());
  };
  for (std::size_t t = 0; t < timeline.tracks.size(); ++t) {
    Nanos time = 0;
    for (std::size_t i = columns["first"][t]; i < columns["first"][t + 1].get<std::size_t>(); ++i) {
      time += columns["start"][i].get<Nanos>();
      const int back = columns["waited"][i];
      seen[name(i)] = std::to_string(columns["tracks"][t][0].get<int>()) + " " + std::to_string(time) + " " +
                      std::to_string(columns["length"][i].get<Nanos>()) + " " + (back ? name(i - static_cast<std::size_t>(back)) : "-");
    }
  }
  for (const Span& span : timeline.spans) {
    expected[timeline.span_name(span)] = std::to_string(timeline.tracks[span.track].rank) + " " + std::to_string(span.start) + " " +
                                         std::to_string(span.duration()) + " " +
                                         (span.waited_for >= 0 ? timeline.span_name(timeline.spans[span.waited_for]) : "-");
  }
  EXPECT_EQ(seen, expected);
}

// Rank 1 fills 1, drains 2; rank 0 starves from 2 to 5 (idle_test.cpp).
TEST(PageData, has_idle_pieces_by_rank) {
  const json columns = json::parse(timeline_columns(pipeline(2, 2, false, 1, 2), 1));
  EXPECT_EQ(columns["idleFirst"], (json{0, 1, 3}));
  EXPECT_EQ(columns["idleStart"], (json{2, 0, 7}));
  EXPECT_EQ(columns["idleLength"], (json{3, 1, 2}));
}

TEST(PageData, fits_whole_iterations_and_at_least_one) {
  TimelineBuilder builder(1, 1, 2);
  for (int it = 3; it < 8; ++it) {
    for (const char* cell : {"0F0", "0B0"}) builder.as_early(0, cell, 10, -1, 0, it);
  }
  EXPECT_EQ(iterations_within(builder.timeline(), 100), 5);
  EXPECT_EQ(iterations_within(builder.timeline(), 5), 2);
  EXPECT_EQ(iterations_within(builder.timeline(), 1), 1);
  const json columns = json::parse(timeline_columns(builder.timeline(), 2));
  EXPECT_EQ(columns["iteration"], (json{3, 3, 4, 4}));
}

}  // namespace
}  // namespace bubblescope
