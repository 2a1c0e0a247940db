// The report as Markdown.
#include "analysis/comparison.hpp"
#include "analysis/escape.hpp"
#include "analysis/report.hpp"

namespace bubblescope {

std::string report_markdown(const ReportModel& model) {
  std::string out = "# " + markdown_text(model.title) + "\n\n";
  if (!model.date.empty()) out += markdown_text(model.date) + (model.machine.empty() ? "\n\n" : "  \n");
  if (!model.machine.empty()) out += markdown_text(model.machine) + "\n\n";
  for (const std::string& note : model.notes) out += "* " + markdown_text(note) + "\n";
  if (!model.notes.empty()) out += "\n";

  out += "## Summary\n\n" + to_markdown(summary_table(model)) + "\n" + to_markdown(utilisation_table(model));
  if (!model.baseline.empty()) out += "\nSpeed-ups are against " + markdown_text(model.baseline) + ".\n";
  const std::vector<std::string> failures = failure_lines(model);
  if (!failures.empty()) out += "\nNo result:\n\n";
  for (const std::string& line : failures) out += "* " + markdown_text(line) + "\n";
  out += "\nTimes are per iteration. Error is (predicted - measured) / measured.\n";

  const Table bubbles = bubble_table(model);
  if (!bubbles.rows.empty()) {
    out += "\n## Idle time by four definitions\n\n" + to_markdown(bubbles) +
           "\nIdle fraction: 1 - busy / (ranks x makespan). Overhead: (makespan - max busy) / max busy. Span rate: 1 - max "
           "busy / largest rank span. Internal: idle inside the ranks' spans / their sum.\n";
  }
  for (const ScheduleReport& schedule : model.schedules) {
    out += "\n## " + markdown_text(schedule.label) + "\n";
    if (!schedule.failure.empty()) {
      out += "\n" + markdown_text(schedule.failure) + "\n";
      continue;
    }
    const Table idle = idle_table(schedule), path = path_table(model, schedule);
    if (!idle.rows.empty()) out += "\nIdle time by cause, share of the makespan:\n\n" + to_markdown(idle);
    if (!path.rows.empty()) out += "\nCritical path:\n\n" + to_markdown(path);
    if (const Table kernels = kernel_table(schedule); !kernels.rows.empty()) {
      out += "\nKernels, copies and gaps of ops:\n\n" + to_markdown(kernels) + "\n" + to_markdown(longest_kernels_table(schedule)) + "\n" + kKernelCaption + "\n";
    }
    if (!schedule.comparison) continue;
    out += "\nErrors of the prediction per op:\n\n" + to_markdown(error_table(*schedule.comparison)) + "\n";
    for (const std::string& line : comparison_lines(*schedule.comparison)) out += "* " + markdown_text(line) + "\n";
  }
  if (!model.command.empty()) out += "\n## Command\n\n" + markdown_fence(model.command, "");
  if (!model.scenario.empty()) out += "\n## Scenario\n\n" + markdown_fence(model.scenario, "toml");
  return out;
}

}  // namespace bubblescope
