// The report as one self-contained HTML page: tables are plain HTML, charts are drawn by the viewer
// (reports/viewer) from the data that the page carries.
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "analysis/comparison.hpp"
#include "analysis/escape.hpp"
#include "analysis/html_page.hpp"
#include "analysis/page_data.hpp"
#include "analysis/report.hpp"
#include "analysis/viewer_assets.hpp"

namespace bubblescope {
namespace {

std::string details(const std::string& summary, const std::string& content, bool open = false) {
  return fmt::format("<details{}><summary>{}</summary>\n{}</details>\n", open ? " open" : "", html_text(summary), content);
}

std::string header(const ReportModel& model) {
  std::string out = "<header>\n<h1>" + html_text(model.title) + "</h1>\n";
  if (!model.machine.empty()) out += "<p class=\"machine\">" + html_text(model.machine) + "</p>\n";
  if (!model.date.empty()) out += "<p class=\"date\">" + html_text(model.date) + "</p>\n";
  out += "</header>\n";
  if (!model.notes.empty()) {
    out += "<ul class=\"notes\">\n";
    for (const std::string& note : model.notes) out += "<li>" + html_text(note) + "</li>\n";
    out += "</ul>\n";
  }
  return out;
}

std::string summary(const ReportModel& model) {
  std::string out = "<section id=\"summary\">\n<h2>Summary</h2>\n" + html_table(summary_table(model)) + html_table(utilisation_table(model));
  out += "<p class=\"caption\">Times are per iteration. Error is (predicted − measured) / measured.";
  if (!model.baseline.empty()) out += " Speed-ups are against " + html_text(model.baseline) + ".";
  for (const std::string& line : failure_lines(model)) out += "<br>No result for " + html_text(line);
  out += "</p>\n<div class=\"charts\"><div id=\"speedups\"></div><div id=\"memory\"></div></div>\n";
  const Table bubbles = bubble_table(model);
  if (!bubbles.rows.empty()) {
    out += details("Idle time by four definitions",
                   html_table(bubbles) +
                       "<p class=\"caption\">Idle fraction: 1 − busy / (ranks × makespan). Overhead: (makespan − max busy) / max "
                       "busy. Span rate: 1 − max busy / largest rank span. Internal: idle inside the ranks’ spans / their "
                       "sum.</p>\n");
  }
  return out + "</section>\n";
}

std::string schedule_section(const ReportModel& model, const ScheduleReport& schedule, std::size_t number) {
  std::string out = fmt::format("<section class=\"schedule\" id=\"schedule-{}\">\n<h2>{}</h2>\n", number, html_text(schedule.label));
  if (!schedule.failure.empty()) return out + "<p class=\"failure\">" + html_text(schedule.failure) + "</p>\n</section>\n";
  std::vector<std::string> facts;
  const auto side = [&](const char* name, const std::optional<SideNumbers>& numbers) {
    if (!numbers) return;
    std::string fact = fmt::format("{} <b>{}</b>", name, html_text(format_duration(numbers->iteration)));
    if (numbers->idle_fraction >= 0) fact += fmt::format(", idle {}", percent(numbers->idle_fraction));
    facts.push_back(std::move(fact));
  };
  side("predicted", schedule.predicted);
  side("measured", schedule.measured);
  if (schedule.error) facts.push_back(fmt::format("error <b>{}</b>", signed_percent(*schedule.error)));
  if (schedule.idle_points) facts.push_back(fmt::format("idle error {}", points(*schedule.idle_points)));
  if (schedule.published) facts.push_back("published " + html_text(schedule.published->text));
  if (!facts.empty()) out += fmt::format("<p class=\"facts\">{}</p>\n", fmt::join(facts, " · "));
  out += fmt::format("<div class=\"timeline\" data-schedule=\"{0}\"></div>\n<div class=\"idle\" data-schedule=\"{0}\"></div>\n", number);

  const Table idle = idle_table(schedule), path = path_table(model, schedule);
  if (schedule.comparison) {
    std::string lines;
    for (const std::string& line : comparison_lines(*schedule.comparison)) lines += "<p class=\"caption\">" + html_text(line) + "</p>\n";
    out += details("Errors of the prediction per op", html_table(error_table(*schedule.comparison)) + lines, true);
  }
  if (!idle.rows.empty()) out += details("Idle time by cause, share of the makespan", html_table(idle));
  if (!path.rows.empty()) out += details("Critical path and what would be gained", html_table(path));
  if (const Table kernels = kernel_table(schedule); !kernels.rows.empty()) {
    out += details("Kernels, copies and gaps of ops", html_table(kernels) + html_table(longest_kernels_table(schedule)) + "<p class=\"caption\">" + html_text(kKernelCaption) + "</p>\n");
  }
  return out + "</section>\n";
}

std::string body(const ReportModel& model) {
  std::string out = header(model);
  out += "<noscript><p class=\"failure\">The charts need JavaScript; all tables are complete without it.</p></noscript>\n";
  if (model.schedules.size() > 1) {
    out += "<nav>";
    for (std::size_t i = 0; i < model.schedules.size(); ++i) {
      out += fmt::format("<a href=\"#schedule-{}\">{}</a>", i, html_text(model.schedules[i].label));
    }
    out += "<a href=\"#origin\">how it was made</a></nav>\n";
  }
  out += summary(model);
  for (std::size_t i = 0; i < model.schedules.size(); ++i) out += schedule_section(model, model.schedules[i], i);
  out += "<section id=\"origin\">\n<h2>How it was made</h2>\n";
  if (!model.command.empty()) out += "<h3>Command</h3>\n<pre>" + html_text(model.command) + "</pre>\n";
  if (!model.scenario.empty()) out += "<h3>Scenario</h3>\n<pre>" + html_text(model.scenario) + "</pre>\n";
  return out + "</section>\n";
}

// JSON that may stand inside a script element: in JSON `<` occurs in strings only.
std::string for_script(const std::string& json) {
  std::string out;
  out.reserve(json.size());
  for (const char c : json) {
    if (c == '<') out += "\\u003c";
    else if (c == '>') out += "\\u003e";
    else if (c == '&') out += "\\u0026";
    else out += c;
  }
  return out;
}

std::string script_element(std::string_view id, const std::string& json) {
  return fmt::format("<script type=\"application/json\" id=\"{}\">\n{}</script>\n", id, json);
}

std::string data(const ReportModel& model, std::size_t span_limit) {
  std::string out = script_element("report-data", for_script(report_json(model)));
  std::string timelines = "[";
  for (std::size_t i = 0; i < model.schedules.size(); ++i) {
    const ScheduleReport& s = model.schedules[i];
    // Both sides are cut at the same iteration, so that they can be compared to the end.
    std::int32_t iterations = std::numeric_limits<std::int32_t>::max();
    for (const auto* timeline : {&s.predicted_timeline, &s.measured_timeline}) {
      if (*timeline) iterations = std::min(iterations, iterations_within(**timeline, span_limit));
    }
    timelines += i ? ",\n{\"predicted\":" : "{\"predicted\":";
    timelines += s.predicted_timeline ? timeline_columns(*s.predicted_timeline, iterations) : "null";
    timelines += ",\n\"measured\":";
    timelines += s.measured_timeline ? timeline_columns(*s.measured_timeline, iterations) : "null";
    timelines += '}';
  }
  const auto names = [](int count, auto name) {
    std::string list = "[";
    for (int i = 0; i < count; ++i) list += (i ? ",\"" : "\"") + std::string(name(i)) + '"';
    return list + ']';
  };
  out += script_element(
      "timeline-data",
      fmt::format("{{\"kinds\":{},\n\"waits\":{},\n\"causes\":{},\n\"computeKinds\":{},\n\"timelines\":{}]}}\n",
                  names(kKinds, [](int k) { return mnemonic(static_cast<Kind>(k)); }),
                  names(kWaits, [](int w) { return wait_name(static_cast<Wait>(w)); }),
                  names(kIdleCauses, [](int c) { return idle_cause_name(static_cast<IdleCause>(c)); }),
                  static_cast<int>(Kind::OVERLAP_F_B) + 1, timelines));
  return out;
}

}  // namespace

std::string report_html(const ReportModel& model, std::size_t span_limit) {
  return html_page({model.title, body(model), data(model, span_limit), viewer_script()});
}

}  // namespace bubblescope
