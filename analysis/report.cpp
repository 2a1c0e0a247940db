// Fills in a ReportModel from its Timelines, and writes the files.
#include "analysis/report.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "sim/core/error.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {

namespace {

void complete_side(SideNumbers& side, const Timeline* timeline) {
  if (!side.repeats.empty()) {
    if (!side.spread) side.spread = quartiles(side.repeats);
    if (side.iteration == 0) side.iteration = side.spread->median;
  }
  if (side.idle_fraction < 0 && !side.idle_repeats.empty()) side.idle_fraction = fraction_quartiles(side.idle_repeats).median;
  if (!timeline) return;
  if (!side.bubbles) side.bubbles = bubbles(*timeline);
  if (side.iteration == 0) side.iteration = side.bubbles->period;
  if (side.makespan == 0) side.makespan = side.bubbles->makespan;
  if (side.idle_fraction < 0) side.idle_fraction = side.bubbles->idle_fraction;
  if (side.idle.empty()) side.idle = split_idle(*timeline).ranks;
  if (!side.path) side.path = critical_path(*timeline);
  if (side.peak_bytes.empty() && !timeline->memory.empty()) {
    for (const auto& samples : timeline->memory) {
      std::int64_t peak = 0;
      for (const MemorySample& sample : samples) peak = std::max(peak, sample.bytes);
      side.peak_bytes.push_back(peak);
    }
  }
}

void complete_schedule(ScheduleReport& schedule, double sensitivity_percent) {
  if (!schedule.failure.empty()) return;
  const Timeline* predicted = schedule.predicted_timeline ? &*schedule.predicted_timeline : nullptr;
  const Timeline* measured = schedule.measured_timeline ? &*schedule.measured_timeline : nullptr;
  if (predicted && !schedule.predicted) schedule.predicted.emplace();
  if (measured && !schedule.measured) schedule.measured.emplace();
  if (schedule.predicted) complete_side(*schedule.predicted, predicted);
  if (schedule.measured) complete_side(*schedule.measured, measured);
  if (schedule.kernel_timeline && !schedule.kernels) schedule.kernels = kernel_breakdown(*schedule.kernel_timeline);
  const Timeline* any = predicted ? predicted : measured;
  if (any) {
    if (schedule.ranks == 0) schedule.ranks = any->ranks;
    if (schedule.microbatches == 0) schedule.microbatches = any->microbatches;
    if (schedule.schedule.empty()) schedule.schedule = any->schedule;
  }
  if (schedule.label.empty()) schedule.label = schedule.schedule;
  if (predicted && schedule.sensitivity.empty()) schedule.sensitivity = sensitivities(*predicted, sensitivity_percent);
  if (predicted && measured && !schedule.comparison) schedule.comparison = compare(*predicted, *measured);
  if (schedule.predicted && schedule.measured) {
    const SideNumbers &p = *schedule.predicted, &m = *schedule.measured;
    if (!schedule.error && p.iteration > 0 && m.iteration > 0) {
      schedule.error = static_cast<double>(p.iteration - m.iteration) / static_cast<double>(m.iteration);
    }
    if (!schedule.idle_points && p.idle_fraction >= 0 && m.idle_fraction >= 0) {
      schedule.idle_points = 100 * (p.idle_fraction - m.idle_fraction);
    }
  }
}

}  // namespace

void complete(ReportModel& model) {
  for (ScheduleReport& schedule : model.schedules) complete_schedule(schedule, model.sensitivity_percent);
  if (model.baseline.empty()) return;
  const auto base = std::find_if(model.schedules.begin(), model.schedules.end(),
                                 [&](const ScheduleReport& s) { return s.label == model.baseline; });
  if (base == model.schedules.end()) {
    std::vector<std::string> labels;
    for (const ScheduleReport& schedule : model.schedules) labels.push_back(schedule.label);
    throw InputError(fmt::format("the baseline '{}' is no schedule of this report{}", model.baseline,
                                 suggestion(model.baseline, labels)));
  }
  const std::optional<SideNumbers> predicted = base->predicted, measured = base->measured;
  const std::int64_t samples = base->samples;
  bool others = false;
  for (ScheduleReport& schedule : model.schedules) {
    const bool counted = samples > 0 && schedule.samples > 0;
    const double work = counted ? static_cast<double>(schedule.samples) / static_cast<double>(samples) : 1;
    others = others || work != 1;
    const auto speedup = [&](const std::optional<SideNumbers>& from, std::optional<SideNumbers>& side) {
      if (!from || !side || side->speedup || from->iteration <= 0 || side->iteration <= 0) return;
      side->speedup = work * static_cast<double>(from->iteration) / static_cast<double>(side->iteration);
    };
    speedup(predicted, schedule.predicted);
    speedup(measured, schedule.measured);
  }
  const std::string note = "The schedules train on different numbers of samples per iteration: speed-ups are per sample.";
  if (others && std::find(model.notes.begin(), model.notes.end(), note) == model.notes.end()) model.notes.push_back(note);
}

std::vector<std::filesystem::path> write_report(const ReportModel& model, const std::filesystem::path& folder,
                                                const std::string& stem, const std::vector<std::string>& formats) {
  for (const std::string& format : formats) {
    if (format != "html" && format != "md" && format != "json") {
      throw InputError(fmt::format("unknown report format '{}'; expected html, md or json{}", format,
                                   suggestion(format, {"html", "md", "json"})));
    }
  }
  std::vector<std::filesystem::path> files;
  for (const std::string& format : formats) {
    const std::filesystem::path file = folder / (stem + "." + format);
    write_file(file, format == "html" ? report_html(model) : format == "md" ? report_markdown(model) : report_json(model));
    files.push_back(file);
  }
  return files;
}

}  // namespace bubblescope
