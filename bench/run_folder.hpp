// The folder a run leaves behind: timelines, calibration, reports, and run.json, which ties them
// together so that reports can be made again.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/report_model.hpp"
#include "bench/measure.hpp"

namespace bubblescope {

/// The report of a run, timelines included; `complete` (analysis/report.hpp) has not been called yet.
ReportModel report_model(const Scenario& scenario, const MeasuredRun& run, const std::string& command);

/// Writes timelines/, kernels/ (where kernels were recorded), profile.json and, last, run.json. When all of them are whole,
/// those of an earlier run and its reports make room for them, so the folder never mixes two runs that look like one.
/// Throws RunError where something cannot be written.
void write_run_folder(const std::filesystem::path& folder, const ReportModel& model, const CostProfile& profile);

/// Where `write_run_folder` was killed, on this host, when all was written but not yet in its place: puts it there, and removes
/// reports of an earlier run. Throws RunError where that cannot be done.
void finish_run_folder(const std::filesystem::path& folder);

/// Before anything is measured for it: finishes what an earlier run left (above), and throws InputError where nothing can be
/// written there.
void prepare_run_folder(const std::filesystem::path& folder);

/// What `write_run_folder` wrote, once that is finished (above). Throws InputError that names the file and what is wrong.
ReportModel read_run_folder(const std::filesystem::path& folder);

/// File names for labels, all different: `ppll queue=2` -> `ppll-queue-2`; the second of two that would
/// be the same gets `-2`.
std::vector<std::string> file_stems(const std::vector<std::string>& labels);

}  // namespace bubblescope
