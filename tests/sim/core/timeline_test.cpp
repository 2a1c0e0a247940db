// Timelines as JSON: nothing is lost, damage is named.
#include "sim/core/timeline.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using testing::HasSubstr;

Timeline sample() {
  Timeline timeline;
  timeline.label = "predicted";
  timeline.schedule = "a \"quoted\" name";
  timeline.ranks = 2, timeline.stages = 2, timeline.microbatches = 3, timeline.iterations = 4, timeline.chunks = 1;
  timeline.chains = {{0}, {1}};
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
  EXPECT_EQ(back.chains, timeline.chains);
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

std::string error_of(const std::string& text) {
  try {
    timeline_from_json(text, "t.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

std::string changed(const std::string& from, const std::string& to) {
  std::string text = timeline_to_json(sample());
  const auto place = text.find(from);
  EXPECT_NE(place, std::string::npos) << from;
  return text.replace(place, from.size(), to);
}

TEST(Timeline, errors_name_file_and_key) {
  EXPECT_EQ(error_of("[]"), "t.json: 'schema_version' is missing");
  EXPECT_EQ(error_of(changed("\"schema_version\": 1", "\"schema_version\": 2")), "t.json: 'schema_version' is 2; expected 1 to 1");
  EXPECT_EQ(error_of(changed("\"label\": \"predicted\"", "\"label\": 7")), "t.json: 'label' is 7; expected a text");
  EXPECT_EQ(error_of(changed("\"ranks\": 2,", "\"ranks\": -1,")), "t.json: 'ranks' is -1; expected 0 to 32767");
  EXPECT_EQ(error_of(changed("\"ranks\": 2,", "\"ranks\": 2000000000,")), "t.json: 'ranks' is 2000000000; expected 0 to 32767");
  EXPECT_EQ(error_of(changed("\"ranks\": 2,", "\"ranks\": 2.5,")), "t.json: 'ranks' is 2.5; expected a whole number");
  EXPECT_EQ(error_of(changed("\"stages\": 2,", "\"stages\": 99999999999999999999,")), "t.json: 'stages' is 1e+20; expected a whole number");
  EXPECT_EQ(error_of(changed("\"iterations\": 4", "\"iterations\": 18446744073709551615")), "t.json: 'iterations' is 18446744073709551615; expected 0 to 2147483647");
  EXPECT_EQ(error_of(changed("\"tracks\": [", "\"tracks\": 3, \"t\": [")), "t.json: 'tracks' is 3; expected an array");
  EXPECT_EQ(error_of(changed("{\"rank\": 1,", "{\"rank\": 2,")), "t.json: 'tracks[1].rank' is 2; expected 0 to 1");
  EXPECT_THAT(error_of(changed("\"stream\": \"compute\"", "\"stream\": \"x\"")), HasSubstr("t.json: 'tracks[0].stream' is \"x\"; expected one of compute, host,"));
  EXPECT_EQ(error_of(changed("[[0,10],[5,20]]", "[], [[0,10],[5,20]]")), "t.json: 'memory' is [[],[[0,10],[5,20]],[]]; expected one list per rank, 2 of them");
  EXPECT_EQ(error_of(changed("[[0,10],[5,20]]", "[[0,10.5],[5,20]]")), "t.json: 'memory[0][0][1]' is 10.5; expected a whole number");
}

TEST(Timeline, names_the_span_that_cannot_be_and_its_value) {
  EXPECT_EQ(error_of(changed("[1,5,17", "[9,5,17")), "t.json: 'spans[1][0]' is 9; expected 0 to 1");
  EXPECT_EQ(error_of(changed("[0,5,17", "[0,5.25,17")), "t.json: 'spans[0][1]' is 5.25; expected a whole number");
  EXPECT_EQ(error_of(changed("[0,5,17", "[0,-5,17")), "t.json: 'spans[0][1]' is -5; expected 0 to 1000000000000000000");
  EXPECT_EQ(error_of(changed("[0,5,17", "[0,5,4")), "t.json: 'spans[0][2]' is 4; expected 5 to 1000000000000000000");
  EXPECT_EQ(error_of(changed("\"1F2\",3,", "\"1F2\",-3,")), "t.json: 'spans[0][4]' is -3; expected 0 to 2147483647");
  EXPECT_EQ(error_of(changed("\"1F2\",3,", "12,3,")), "t.json: 'spans[0][3]' is 12; expected a text");
  EXPECT_THAT(error_of(changed("\"data\"", "\"date\"")), HasSubstr("t.json: 'spans[1][6]' is \"date\"; expected one of nothing, stream,"));
  EXPECT_EQ(error_of(changed("[0,5,17", "[5,17")), "t.json: 'spans[0]' is [5,17,\"1F2\",3,-1,\"nothing\",0,1,0,0]; expected an array of 8 or 11 values");
}

TEST(Timeline, a_folder_or_a_missing_file_is_named) {
  for (const std::string& file : {testing::TempDir(), testing::TempDir() + "no-such-file.json"}) {
    try {
      read_timeline(file);
      ADD_FAILURE() << file;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::AllOf(HasSubstr(file), HasSubstr("expected a timeline in JSON")));
    }
  }
}

}  // namespace
}  // namespace bubblescope
