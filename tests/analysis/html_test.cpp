// The page, read without a browser.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "analysis/escape.hpp"
#include "analysis/report.hpp"
#include "tests/analysis/build_report.hpp"

namespace bubblescope {
namespace {

using nlohmann::json;

std::string script_text(const std::string& page, const std::string& id) {
  const std::string open = "<script type=\"application/json\" id=\"" + id + "\">";
  const std::size_t begin = page.find(open);
  if (begin == std::string::npos) return "";
  const std::size_t from = begin + open.size();
  return page.substr(from, page.find("</script>", from) - from);
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

TEST(Html, carries_the_report_and_both_timelines_as_json) {
  ReportModel model = small_report();
  complete(model);
  const std::string page = report_html(model);
  EXPECT_EQ(json::parse(script_text(page, "report-data")), json::parse(report_json(model)));
  const json data = json::parse(script_text(page, "timeline-data"));
  ASSERT_EQ(data["timelines"].size(), 3u);
  EXPECT_EQ(data["timelines"][0]["predicted"]["start"].size(), model.schedules[0].predicted_timeline->spans.size());
  EXPECT_EQ(data["timelines"][1]["measured"]["label"], "measured");
  EXPECT_TRUE(data["timelines"][2]["predicted"].is_null());
}

// Every text of the model is hostile; the page must have exactly the elements it has without, and the
// JSON inside it must give the texts back.
TEST(Html, escapes_all_text) {
  ReportModel plain = small_report(), hostile = small_report();
  plain.baseline = hostile.baseline = "";
  for (std::string* text : {&hostile.title, &hostile.command, &hostile.scenario, &hostile.machine, &hostile.date,
                            &hostile.notes[0], &hostile.schedules[0].label, &hostile.schedules[0].schedule,
                            &hostile.schedules[0].predicted_timeline->label, &hostile.schedules[0].predicted_timeline->tracks[0].name,
                            &hostile.schedules[1].published->text, &hostile.schedules[2].label, &hostile.schedules[2].failure}) {
    *text = kHostile;
  }
  for (ReportModel* model : {&plain, &hostile}) {
    Timeline& timeline = *model->schedules[0].predicted_timeline;
    timeline.names = {model == &plain ? "other" : kHostile};
    timeline.spans[0].has_op = false;
    timeline.spans[0].name = 0;
    complete(*model);
  }
  const std::string page = report_html(hostile), reference = report_html(plain);
  EXPECT_EQ(count(page, "<img"), 0u);
  EXPECT_EQ(count(page, "<"), count(reference, "<"));
  EXPECT_EQ(count(page, "</script>"), count(reference, "</script>"));
  EXPECT_EQ(count(page, "id=\"timeline-data\""), count(reference, "id=\"timeline-data\""));
  EXPECT_NE(page.find("<title>" + html_text(kHostile) + "</title>"), std::string::npos);
  const json report = json::parse(script_text(page, "report-data"));
  EXPECT_EQ(report["title"], kHostile);
  EXPECT_EQ(report["results"][0]["label"], kHostile);
  const json data = json::parse(script_text(page, "timeline-data"));
  EXPECT_EQ(data["timelines"][0]["predicted"]["label"], kHostile);
  EXPECT_EQ(data["timelines"][0]["predicted"]["names"].begin().value(), kHostile);
}

TEST(Html, needs_nothing_from_elsewhere) {
  ReportModel model = small_report();
  complete(model);
  const std::string page = report_html(model);
  EXPECT_EQ(count(page, "http:"), 0u);
  EXPECT_EQ(count(page, "https:"), 0u);
  EXPECT_EQ(count(page, " src="), 0u);
  EXPECT_EQ(count(page, "@import"), 0u);
  EXPECT_EQ(count(page, "url("), 0u);
  EXPECT_EQ(count(page, "{{"), 0u);
}

// The JSON's numbers, put into words as all forms do, are in the Markdown and in the page's tables.
TEST(Html, has_the_same_numbers_as_markdown_and_json) {
  ReportModel model = small_report();
  complete(model);
  const json report = json::parse(report_json(model));
  const std::string page = report_html(model);
  std::string markdown;  // without the padding of its cells
  for (const char c : report_markdown(model)) {
    if (c != ' ' || !markdown.ends_with(' ')) markdown += c;
  }
  int checked = 0;
  const auto expect = [&](const std::string& text) {
    EXPECT_NE(markdown.find("| " + text + " |"), std::string::npos) << text;
    EXPECT_NE(page.find(">" + text + "</td>"), std::string::npos) << text;
    ++checked;
  };
  for (const json& result : report["results"]) {
    if (!result["failure"].is_null()) continue;
    for (const char* side : {"predicted", "measured"}) {
      const json& numbers = result[side];
      expect(format_duration(numbers["iteration_ns"].get<Nanos>()));
      expect(percent(numbers["idle_fraction"].get<double>()));
      expect(times(numbers["speedup"].get<double>()));
      expect(format_duration(numbers["bubble"]["makespan_ns"].get<Nanos>()));
      expect(percent(numbers["bubble"]["overhead"].get<double>()));
      for (const json& causes : numbers["idle_ns"]) {
        for (const auto& [cause, ns] : causes.items()) {
          if (ns > 0) expect(percent(ns.get<double>() / numbers["makespan_ns"].get<double>()));
        }
      }
    }
    expect(signed_percent(result["error"]["iteration"].get<double>()));
    expect(percent(result["comparison"]["kinds"]["F"]["median"].get<double>()));
    expect(signed_percent(result["comparison"]["ranks"][1]["bias"].get<double>()));
  }
  EXPECT_GT(checked, 30);
}

TEST(Html, says_when_iterations_are_left_out_and_still_has_all_numbers) {
  ReportModel model;
  model.title = "long";
  ScheduleReport schedule;
  schedule.label = "gpipe";
  TimelineBuilder builder(1, 1, 2);
  for (int it = 0; it < 5; ++it) {
    for (const char* cell : {"0F0", "0F1", "0B0", "0B1"}) builder.as_early(0, cell, 10, -1, 0, it);
  }
  schedule.predicted_timeline = builder.timeline();
  model.schedules.push_back(schedule);
  complete(model);
  const json data = json::parse(script_text(report_html(model, 10), "timeline-data"));
  const json& timeline = data["timelines"][0]["predicted"];
  EXPECT_EQ(timeline["start"].size(), 8u);
  EXPECT_EQ(timeline["shown"], 2);
  EXPECT_EQ(timeline["iterations"], 5);
  EXPECT_EQ(timeline["until"], 80);
  EXPECT_EQ(timeline["makespan"], 200);
  EXPECT_EQ(model.schedules[0].predicted->makespan, 200);
}

}  // namespace
}  // namespace bubblescope
