// Reports: fills in a ReportModel, lays it out as terminal tables, Markdown, JSON and HTML. All forms
// print the same numbers.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/report_model.hpp"
#include "analysis/table.hpp"

namespace bubblescope {

/// Derives what the caller has not set: per side iteration time (median of `repeats`, else the
/// Timeline's period), quartiles, idle time, bubbles, critical path; per schedule errors, comparison,
/// sensitivity, shape; speed-ups against the baseline. Call it once, before any of the functions below.
/// Throws InputError where `baseline` names no schedule or a Timeline is inconsistent.
void complete(ReportModel& model);

/// One row per schedule, its iteration time and speed-up; columns that nothing fills are left out.
Table summary_table(const ReportModel& model);
/// One row per schedule, its idle fraction and the memory of the rank that needs most; likewise.
Table utilisation_table(const ReportModel& model);
/// `label: why`, for every schedule without a result.
std::vector<std::string> failure_lines(const ReportModel& model);
/// The four bubble definitions, per schedule and side.
Table bubble_table(const ReportModel& model);
/// Per rank: share of the makespan that each cause of idle time takes, predicted and measured.
Table idle_table(const ScheduleReport& schedule);
/// What lies on the critical path, and what faster parts would gain.
Table path_table(const ReportModel& model, const ScheduleReport& schedule);

/// Per rank, stage and kind: what ops consist of, as `KernelGroup` defines it, per op and as shares of the ops' time.
/// No rows without `kernels`.
Table kernel_table(const ScheduleReport& schedule);
/// The kernels that take most time.
Table longest_kernels_table(const ScheduleReport& schedule);
/// What the columns of both mean.
extern const char* const kKernelCaption;

std::string report_markdown(const ReportModel& model);
/// `{"schema_version": 1, "title", ..., "results": [...]}`; times in integer nanoseconds.
std::string report_json(const ReportModel& model);
/// One self-contained page. Of Timelines with more than `span_limit` spans later iterations are left
/// out, and the page says so.
std::string report_html(const ReportModel& model, std::size_t span_limit = 200'000);

/// Writes `stem`.html, `stem`.md, `stem`.json into `folder`, those that `formats` names (`html`,
/// `md`, `json`); returns the paths. Throws InputError on another format, RunError where writing fails.
std::vector<std::filesystem::path> write_report(const ReportModel& model, const std::filesystem::path& folder,
                                                const std::string& stem, const std::vector<std::string>& formats);

/// Texts that all forms share: `+1.2 %` (of a fraction), `27.3 %`, `1.48x`, `512 MiB`, `+0.4 points`.
std::string signed_percent(double fraction);
std::string percent(double fraction);
std::string times(double factor);
/// `663 to 670 ms (n=5)`: the unit once where both have the same.
std::string range_text(const Quartiles& spread);
std::string points(double percentage_points);
std::string bytes_text(std::int64_t bytes);
/// The idle fraction, and the memory of the rank that needs most; empty where not known.
std::string idle_text(const SideNumbers& side);
std::string peak_text(const SideNumbers& side);

}  // namespace bubblescope
