// Timelines as JSON: nothing is lost, damage is named.
#include "sim/core/timeline.hpp"

#include <gtest/gtest.h>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

Timeline sample() {
  Timeline timeline;
  timeline.label = "predicted";
  timeline.schedule = "a \"quoted\" name";
  timeline.ranks = 2, timeline.stages = 2, timeline.microbatches = 3, timeline.iterations = 4, timeline.chunks = 1;
  timeline.tracks = {{0, StreamKind::compute, "rank 0"}, {1, StreamKind::communication, "<b>"}};
  Span f;
  f.start = 5, f.end = 17;
  f.op.kind = Kind::F, f.op.stage = 1, f.op.microbatch = 2, f.op.iteration = 3, f.op.replica = 1;
  Span send = f;
  send.op.kind = Kind::SEND_F, send.track = 1, send.waited_for = 0, send.wait = Wait::data, send.bytes = 1'000'000'000'000;
  Span both;
  both.start = 17, both.end = 20, both.op.kind = Kind::OVERLAP_F_B, both.name = 0;
  Span other;
  other.start = 1, other.end = 2, other.has_op = false, other.name = 1;
  timeline.names = {"(0F1;1B0)OVERLAP_F_B", "garbage collection"};
  timeline.spans = {f, send, both, other};
  timeline.memory = {{{0, 10}, {5, 20}}, {}};
  return timeline;
}

TEST(Timeline, survives_json) {
  const Timeline timeline = sample();
  const std::string text = timeline_to_json(timeline);
  const Timeline back = timeline_from_json(text, "t.json");
  EXPECT_EQ(timeline_to_json(back), text);
  ASSERT_EQ(back.spans.size(), 4u);
  EXPECT_EQ(back.spans[1].op, timeline.spans[1].op);
  EXPECT_EQ(back.spans[1].bytes, 1'000'000'000'000);
  EXPECT_EQ(back.spans[1].wait, Wait::data);
  EXPECT_TRUE(back.spans[2].has_op);
  EXPECT_FALSE(back.spans[3].has_op);
  EXPECT_EQ(back.span_name(back.spans[3]), "garbage collection");
  EXPECT_EQ(back.tracks, timeline.tracks);
  EXPECT_EQ(back.makespan(), 20);
  EXPECT_EQ(back.memory[0][1].bytes, 20);
}

TEST(Timeline, every_truncation_is_an_input_error_that_names_the_file) {
  const std::string text = timeline_to_json(sample());
  for (std::size_t length = 0; length + 2 < text.size(); ++length) {
    try {
      timeline_from_json(text.substr(0, length), "t.json");
      FAIL() << length;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("t.json"), std::string::npos);
    }
  }
}

TEST(Timeline, names_the_span_that_cannot_be) {
  std::string text = timeline_to_json(sample());
  text.replace(text.find("[1,5,17"), 7, "[9,5,17");
  try {
    timeline_from_json(text, "t.json");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("spans[1]"), std::string::npos);
  }
}

}  // namespace
}  // namespace bubblescope
