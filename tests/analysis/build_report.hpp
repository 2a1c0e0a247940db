// A small ReportModel for tests: GPipe as the baseline and 1F1B, predicted and measured, and a
// schedule that failed.
#pragma once

#include <string>

#include "analysis/report.hpp"
#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {

/// Text that breaks pages, scripts and tables when it is not escaped.
inline const std::string kHostile = "</script><img src=x onerror=alert(1)> & \"q\" 'a' | `b` {{DATA}} <!--";

inline ReportModel small_report() {
  ReportModel model;
  model.title = "Two ranks";
  model.command = "bubblescope run two.toml";
  model.scenario = "[model]\nname = \"mlp\"\n";
  model.machine = "two cores";
  model.date = "2030-01-02";
  model.notes = {"a note"};
  model.baseline = "gpipe";
  const auto add = [&](const std::string& label, bool one_f_one_b, Nanos unit) {
    ScheduleReport schedule;
    schedule.label = label;
    schedule.predicted_timeline = pipeline(2, 4, one_f_one_b, 10 * unit, 20 * unit, unit);
    schedule.measured_timeline = pipeline(2, 4, one_f_one_b, 11 * unit, 20 * unit, 2 * unit);
    schedule.measured_timeline->label = "measured";
    schedule.measured_timeline->memory = {{{0, 100}, {5, 3 << 20}, {9, 100}}, {{0, 50}}};
    schedule.measured.emplace();
    schedule.measured->repeats = {170 * unit, 160 * unit, 180 * unit, 165 * unit, 175 * unit};
    model.schedules.push_back(std::move(schedule));
  };
  add("gpipe", false, 1'000'000);
  add("1f1b", true, 900'000);
  model.schedules[1].published = PublishedFigure{"1.20x, four GPUs", 1.2};
  ScheduleReport failed;
  failed.label = "broken";
  failed.failure = "deadlock: rank 0: 0SEND_F1";
  model.schedules.push_back(failed);
  return model;
}

}  // namespace bubblescope
