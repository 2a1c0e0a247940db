// The report as Markdown.
#include <algorithm>

#include <fmt/format.h>

#include "analysis/comparison.hpp"
#include "analysis/report.hpp"

namespace bubblescope {
namespace {

// Plain text in Markdown: nothing in it may start markup.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '&') out += "&amp;";
    else if (c == '\n' || c == '\r') out += ' ';
    else if (std::string_view("\\`*_[]#|").find(c) != std::string_view::npos) (out += '\\') += c;
    else out += c;
  }
  return out;
}

// A fenced block whose fence is longer than any run of backticks in it.
std::string fenced(std::string_view text, std::string_view language) {
  std::size_t longest = 2, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  return fmt::format("{}{}\n{}{}{}\n", fence, language, text, text.empty() || text.back() == '\n' ? "" : "\n", fence);
}

}  // namespace

std::string report_markdown(const ReportModel& model) {
  std::string out = "# " + plain(model.title) + "\n\n";
  if (!model.date.empty()) out += plain(model.date) + (model.machine.empty() ? "\n\n" : "  \n");
  if (!model.machine.empty()) out += plain(model.machine) + "\n\n";
  for (const std::string& note : model.notes) out += "* " + plain(note) + "\n";
  if (!model.notes.empty()) out += "\n";

  out += "## Summary\n\n" + to_markdown(summary_table(model)) + "\n" + to_markdown(utilisation_table(model));
  if (!model.baseline.empty()) out += "\nSpeed-ups are against " + plain(model.baseline) + ".\n";
  const std::vector<std::string> failures = failure_lines(model);
  if (!failures.empty()) out += "\nNo result:\n\n";
  for (const std::string& line : failures) out += "* " + plain(line) + "\n";
  out += "\nTimes are per iteration. Error is (predicted - measured) / measured.\n";

  const Table bubbles = bubble_table(model);
  if (!bubbles.rows.empty()) {
    out += "\n## Idle time by four definitions\n\n" + to_markdown(bubbles) +
           "\nIdle fraction: 1 - busy / (ranks x makespan). Overhead: (makespan - max busy) / max busy. Span rate: 1 - max "
           "busy / largest rank span. Internal: idle inside the ranks' spans / their sum.\n";
  }
  for (const ScheduleReport& schedule : model.schedules) {
    out += "\n## " + plain(schedule.label) + "\n";
    if (!schedule.failure.empty()) {
      out += "\n" + plain(schedule.failure) + "\n";
      continue;
    }
    const Table idle = idle_table(schedule), path = path_table(model, schedule);
    if (!idle.rows.empty()) out += "\nIdle time by cause, share of the makespan:\n\n" + to_markdown(idle);
    if (!path.rows.empty()) out += "\nCritical path:\n\n" + to_markdown(path);
    if (!schedule.comparison) continue;
    out += "\nErrors of the prediction per op:\n\n" + to_markdown(error_table(*schedule.comparison)) + "\n";
    for (const std::string& line : comparison_lines(*schedule.comparison)) out += "* " + plain(line) + "\n";
  }
  if (!model.command.empty()) out += "\n## Command\n\n" + fenced(model.command, "");
  if (!model.scenario.empty()) out += "\n## Scenario\n\n" + fenced(model.scenario, "toml");
  return out;
}

}  // namespace bubblescope
