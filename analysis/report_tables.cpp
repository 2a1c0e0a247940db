// The tables of a report. Every printed number goes through the text functions here.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "analysis/report.hpp"

namespace bubblescope {

std::string signed_percent(double fraction) { return fmt::format("{:+.1f} %", std::abs(fraction) < 0.0005 ? 0.0 : 100 * fraction); }
std::string percent(double fraction) { return fmt::format("{:.1f} %", 100 * fraction); }
std::string times(double factor) { return fmt::format("{:.2f}x", factor); }
std::string points(double value) { return fmt::format("{:+.1f} points", std::abs(value) < 0.05 ? 0.0 : value); }

std::string bytes_text(std::int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  while (unit < 4 && std::abs(value) >= 1024) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 || std::abs(value) >= 100 ? fmt::format("{:.0f} {}", value, kUnits[unit])
         : std::abs(value) >= 10             ? fmt::format("{:.1f} {}", value, kUnits[unit])
                                             : fmt::format("{:.2f} {}", value, kUnits[unit]);
}

std::string idle_text(const SideNumbers& side) { return side.idle_fraction >= 0 ? percent(side.idle_fraction) : ""; }

std::string idle_range_text(const SideNumbers& side) {
  if (side.idle_repeats.size() < 2) return "";
  const Fractions idle = fraction_quartiles(side.idle_repeats);
  return fmt::format("{:.1f} to {}", 100 * idle.first, percent(idle.third));
}

std::string peak_text(const SideNumbers& side) {
  if (side.peak_bytes.empty()) return "";
  return bytes_text(*std::max_element(side.peak_bytes.begin(), side.peak_bytes.end()));
}

std::string range_text(const Quartiles& spread) {
  std::string first = format_duration(spread.first);
  const std::string third = format_duration(spread.third);
  const std::size_t unit = first.find(' ');
  if (unit != std::string::npos && third.ends_with(first.substr(unit))) first.resize(unit);
  return fmt::format("{} to {} (n={})", first, third, spread.count);
}

namespace {

std::string speedup_text(const SideNumbers& side) { return side.speedup ? times(*side.speedup) : ""; }

double share(Nanos part, Nanos whole) { return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0; }

}  // namespace

Table summary_table(const ReportModel& model) {
  Table table{{{"schedule"},
               {"ranks", Align::right},
               {"microbatches", Align::right},
               {"samples", Align::right},
               {"predicted", Align::right},
               {"measured", Align::right},
               {"quartiles", Align::right},
               {"error", Align::right},
               {"speed-up predicted", Align::right},
               {"speed-up measured", Align::right},
               {"published"}},
              {}};
  for (const ScheduleReport& s : model.schedules) {
    std::vector<std::string> row(table.columns.size());
    row[0] = s.label;
    if (s.ranks > 0) row[1] = std::to_string(s.ranks);
    if (s.microbatches > 0) row[2] = std::to_string(s.microbatches);
    if (s.samples > 0) row[3] = std::to_string(s.samples);
    if (!s.failure.empty()) {
      row[4] = "no result";
    } else {
      if (s.predicted) {
        row[4] = format_duration(s.predicted->iteration);
        row[8] = speedup_text(*s.predicted);
      }
      if (s.measured) {
        row[5] = format_duration(s.measured->iteration);
        if (s.measured->spread) {
          row[6] = range_text(*s.measured->spread);
        }
        row[9] = speedup_text(*s.measured);
      }
      if (s.error) row[7] = signed_percent(*s.error);
    }
    if (s.published) row[10] = s.published->text;
    table.rows.push_back(std::move(row));
  }
  return without_empty_columns(table);
}

Table utilisation_table(const ReportModel& model) {
  Table table{{{"schedule"},
               {"idle predicted", Align::right},
               {"idle measured", Align::right},
               {"quartiles", Align::right},
               {"difference", Align::right},
               {"peak memory predicted", Align::right},
               {"peak memory measured", Align::right}},
              {}};
  for (const ScheduleReport& s : model.schedules) {
    std::vector<std::string> row(table.columns.size());
    row[0] = s.label;
    if (!s.failure.empty()) {
      row[1] = "no result";
    } else {
      if (s.predicted) row[1] = idle_text(*s.predicted), row[5] = peak_text(*s.predicted);
      if (s.measured) row[2] = idle_text(*s.measured), row[3] = idle_range_text(*s.measured), row[6] = peak_text(*s.measured);
      if (s.idle_points) row[4] = points(*s.idle_points);
    }
    table.rows.push_back(std::move(row));
  }
  return without_empty_columns(table);
}

Table bubble_table(const ReportModel& model) {
  Table table{{{"schedule"},
               {"timeline"},
               {"makespan", Align::right},
               {"largest rank span", Align::right},
               {"idle fraction", Align::right},
               {"overhead", Align::right},
               {"span rate", Align::right},
               {"internal", Align::right}},
              {}};
  const auto add = [&](const ScheduleReport& s, const char* side, const std::optional<SideNumbers>& numbers) {
    if (!numbers || !numbers->bubbles) return;
    const Bubbles& b = *numbers->bubbles;
    table.rows.push_back({s.label, side, format_duration(b.makespan), format_duration(b.span), percent(b.idle_fraction),
                          percent(b.overhead), percent(b.span_rate), percent(b.internal)});
  };
  for (const ScheduleReport& s : model.schedules) {
    add(s, "predicted", s.predicted);
    add(s, "measured", s.measured);
  }
  return table;
}

Table idle_table(const ScheduleReport& schedule) {
  Table table{{{"rank"}, {"timeline"}, {"idle", Align::right}}, {}};
  for (int c = 0; c < kIdleCauses; ++c) {
    std::string title(idle_cause_name(static_cast<IdleCause>(c)));
    std::replace(title.begin(), title.end(), '_', ' ');
    table.columns.push_back({std::move(title), Align::right});
  }
  for (std::int32_t rank = 0; rank < schedule.ranks; ++rank) {
    const auto add = [&](const char* side, const std::optional<SideNumbers>& numbers) {
      if (!numbers || rank >= static_cast<std::int32_t>(numbers->idle.size())) return;
      const auto& causes = numbers->idle[rank];
      Nanos sum = 0;
      for (const Nanos cause : causes) sum += cause;
      std::vector<std::string> row{std::to_string(rank), side, percent(share(sum, numbers->makespan))};
      for (const Nanos cause : causes) row.push_back(cause > 0 ? percent(share(cause, numbers->makespan)) : "");
      table.rows.push_back(std::move(row));
    };
    add("predicted", schedule.predicted);
    add("measured", schedule.measured);
  }
  return without_empty_columns(table);
}

Table path_table(const ReportModel& model, const ScheduleReport& schedule) {
  Table table{{{"critical path"},
               {"predicted", Align::right},
               {"measured", Align::right},
               {fmt::format("gain if {:g} % faster (predicted, at most)", model.sensitivity_percent), Align::right}},
              {}};
  const CriticalPath* sides[] = {schedule.predicted && schedule.predicted->path ? &*schedule.predicted->path : nullptr,
                                 schedule.measured && schedule.measured->path ? &*schedule.measured->path : nullptr};
  const auto add = [&](const std::string& name, auto value, const std::string& gain) {
    std::vector<std::string> row{name, "", "", gain};
    bool any = !gain.empty();
    for (int side = 0; side < 2; ++side) {
      if (!sides[side]) continue;
      const Nanos time = value(*sides[side]);
      row[1 + side] = fmt::format("{} ({})", format_duration(time), percent(share(time, sides[side]->makespan)));
      any = any || time > 0;
    }
    if (any) table.rows.push_back(std::move(row));
  };
  const auto gain_of = [&](auto matches) {
    for (const Sensitivity& s : schedule.sensitivity) {
      if (matches(s)) return fmt::format("{} ({})", format_duration(s.gain), percent(share(s.gain, s.makespan + s.gain)));
    }
    return std::string();
  };
  add("computing", [](const CriticalPath& p) { return p.compute; }, "");
  for (int k = 0; k < kKinds; ++k) {
    if (!is_compute(static_cast<Kind>(k))) continue;
    add(fmt::format("computing, {}", mnemonic(static_cast<Kind>(k))), [k](const CriticalPath& p) { return p.by_kind[k]; }, "");
  }
  std::size_t stages = 0;
  for (const CriticalPath* side : sides) stages = side ? std::max(stages, side->by_stage.size()) : stages;
  for (std::size_t stage = 0; stage < stages; ++stage) {
    add(fmt::format("computing, stage {}", stage),
        [stage](const CriticalPath& p) { return stage < p.by_stage.size() ? p.by_stage[stage] : 0; },
        gain_of([stage](const Sensitivity& s) { return s.stage == static_cast<Stage>(stage); }));
  }
  std::vector<std::pair<Rank, Rank>> links;
  for (const CriticalPath* side : sides) {
    if (!side) continue;
    for (const LinkTime& link : side->by_link) links.emplace_back(link.from, link.to);
  }
  std::sort(links.begin(), links.end());
  links.erase(std::unique(links.begin(), links.end()), links.end());
  for (const auto& [from, to] : links) {
    add(fmt::format("link {}->{}", from, to),
        [from = from, to = to](const CriticalPath& p) {
          for (const LinkTime& link : p.by_link) {
            if (link.from == from && link.to == to) return link.time;
          }
          return Nanos{0};
        },
        gain_of([from = from, to = to](const Sensitivity& s) { return s.stage < 0 && s.from == from && s.to == to && (from >= 0 || to >= 0); }));
  }
  add("host, barriers, copies", [](const CriticalPath& p) { return p.other; },
      gain_of([](const Sensitivity& s) { return s.what == "launch"; }));
  add("waiting", [](const CriticalPath& p) { return p.waiting; }, "");
  return without_empty_columns(table);
}

std::vector<std::string> failure_lines(const ReportModel& model) {
  std::vector<std::string> lines;
  for (const ScheduleReport& s : model.schedules) {
    if (!s.failure.empty()) lines.push_back(fmt::format("{}: {}", s.label, s.failure));
  }
  return lines;
}

}  // namespace bubblescope
