// The Chrome trace as any JSON reader sees it.
#include "analysis/chrome_trace.hpp"

#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

using nlohmann::json;

json trace_of(std::initializer_list<const Timeline*> timelines) {
  std::ostringstream out;
  write_chrome_trace(out, std::span(timelines.begin(), timelines.size()));
  return json::parse(out.str());
}

std::vector<json> events(const json& trace, const std::string& phase) {
  std::vector<json> found;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] == phase) found.push_back(event);
  }
  return found;
}

Timeline two_ranks() {
  TimelineBuilder builder(2, 2, 1);
  const auto f = builder.add(0, "0F0", 0, 1234567, Wait::nothing, -1, 2);
  const auto send = builder.add(0, "0SEND_F0", 1234567, 1234567, Wait::data, f, 2);
  const auto recv = builder.add(1, "1RECV_F0", 1234567, 1300000, Wait::transfer, send, 2);
  builder.add(1, "1F0", 1300000, 1300005, Wait::transfer, recv, 2);
  return builder.timeline();
}

TEST(ChromeTrace, names_events_as_pytorch_does_and_says_what_they_are) {
  const Timeline timeline = two_ranks();
  const auto spans = events(trace_of({&timeline}), "X");
  ASSERT_EQ(spans.size(), 4u);
  EXPECT_EQ(spans[3]["name"], "PP:1F0");
  EXPECT_EQ(spans[3]["cat"], "compute");
  EXPECT_EQ(spans[3]["pid"], 1);
  EXPECT_EQ(spans[3]["tid"], 1);
  EXPECT_EQ(spans[3]["args"]["stage"], 1);
  EXPECT_EQ(spans[3]["args"]["microbatch"], 0);
  EXPECT_EQ(spans[3]["args"]["iteration"], 2);
  EXPECT_EQ(spans[3]["args"]["waited"], "transfer: 1RECV_F0 on rank 1");
  EXPECT_EQ(spans[1]["cat"], "p2p");
}

TEST(ChromeTrace, gives_times_in_microseconds_to_the_nanosecond) {
  const Timeline timeline = two_ranks();
  std::ostringstream out;
  write_chrome_trace(out, timeline);
  EXPECT_NE(out.str().find(R"("ts": 0.000, "dur": 1234.567)"), std::string::npos);
  EXPECT_NE(out.str().find(R"("ts": 1300.000, "dur": 0.005)"), std::string::npos);
}

TEST(ChromeTrace, joins_a_send_and_its_receive_by_an_arrow_inside_both) {
  const Timeline timeline = two_ranks();
  const json trace = trace_of({&timeline});
  const auto starts = events(trace, "s"), ends = events(trace, "f");
  ASSERT_EQ(starts.size(), 1u);
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(starts[0]["id"], ends[0]["id"]);
  EXPECT_EQ(starts[0]["pid"], 0);
  EXPECT_EQ(ends[0]["pid"], 1);
  EXPECT_EQ(ends[0]["bp"], "e");
  EXPECT_DOUBLE_EQ(starts[0]["ts"], 1234.567);
  EXPECT_DOUBLE_EQ(ends[0]["ts"], 1234.567);
}

TEST(ChromeTrace, puts_two_timelines_into_two_groups_of_processes) {
  const Timeline predicted = two_ranks();
  Timeline measured = two_ranks();
  measured.label = "measured";
  const json trace = trace_of({&predicted, &measured});
  std::vector<std::string> names;
  for (const json& event : events(trace, "M")) {
    if (event["name"] == "process_name") names.push_back(event["args"]["name"]);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"predicted rank 0", "predicted rank 1", "measured rank 0", "measured rank 1"}));
  EXPECT_EQ(events(trace, "X").back()["pid"], 3);
  EXPECT_NE(events(trace, "s")[0]["id"], events(trace, "s")[1]["id"]);
}

TEST(ChromeTrace, stays_json_whatever_the_names_are) {
  TimelineBuilder builder(1, 1, 1);
  builder.add(0, "0F0", 0, 1);
  Timeline& timeline = builder.timeline();
  timeline.label = "a \"b\" \\ </script> \n \x01 \xff";
  timeline.names.push_back("load \"x\"\t");
  timeline.spans[0].has_op = false;
  timeline.spans[0].name = 0;
  const auto spans = events(trace_of({&timeline}), "X");
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0]["name"], "load \"x\"\t");
}

}  // namespace
}  // namespace bubblescope
