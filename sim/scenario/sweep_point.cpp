// Axis values as overrides of a scenario.
#include "sim/scenario/sweep_point.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sim/core/error.hpp"
#include "sim/scenario/check.hpp"
#include "sim/scenario/keys.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

bool has_option(const Schedule& schedule, std::string_view name) {
  return std::any_of(schedule.options.begin(), schedule.options.end(), [&](const ScheduleOption& option) { return option.name == name; });
}

/// Whether the key of an axis `of_schedules` means anything to the schedule.
bool concerns(const SweepAxis& axis, const std::string& schedule) {
  return find_key("schedule", axis.key) != nullptr || has_option(find_schedule(schedule), axis.key);
}

/// Names of the sweep's schedules, each once.
std::vector<std::string> names_of(std::span<const SweepAxis> axes, const ScenarioDraft& base) {
  std::vector<std::string> names;
  for (const SweepAxis& axis : axes) {
    if (axis.what != SweepAxis::What::schedule) continue;
    for (const AxisValue& value : axis.values) names.push_back(value.text);
    return names;
  }
  for (const ScheduleConfig& config : base.scenario.schedules) {
    if (std::find(names.begin(), names.end(), config.name) == names.end()) names.push_back(config.name);
  }
  return names;
}

/// `schedule.ppll.queue` taken apart: `which` by name or label, and its key or option. Other keys: their section, and no `which`.
struct Path {
  std::string_view section, which, key;
};

Path path_of(std::string_view whole) {
  const std::size_t first = std::min(whole.find('.'), whole.size()), last = std::min(whole.rfind('.'), whole.size());
  const std::string_view section = whole.substr(0, first);
  if (section != "schedule") return {section, "", whole.substr(std::min(first + 1, whole.size()))};
  return {section, first < last ? whole.substr(first + 1, last - first - 1) : "", whole.substr(std::min(last + 1, whole.size()))};
}

bool is_called(const ScheduleConfig& config, std::string_view name) { return !name.empty() && (config.name == name || config.label == name); }

/// Throws InputError where an option of schedules is none of theirs, or its value is none that it can have. Reading takes any.
void require_option(const ScenarioDraft& draft, const Path& path) {
  if (path.section != "schedule" || find_key(path.section, path.key) != nullptr) return;
  if (const auto key = derived_from(path.key); !key.empty()) throw InputError(fmt::format("the option '{}' follows from {}; expected it there only", path.key, key));
  for (const ScheduleConfig& config : draft.scenario.schedules) {
    if (is_called(config, path.which)) option_text(find_schedule(config.name), {.ranks = 1, .microbatches = 1, .options = config.options}, path.key);
  }
}

/// What is wrong with the override, without the override itself, or nothing.
std::optional<std::string> refusal(ScenarioDraft draft, const std::string& key, const std::string& value) {
  const std::string change = fmt::format("{}={}", key, value);
  try {
    apply_overrides(draft, std::array{change});
    require_option(draft, path_of(key));
  } catch (const InputError& error) {
    const std::string text = error.what(), prefix = fmt::format("--set {}: ", change);
    return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
  }
  return std::nullopt;
}

/// A value may be right for one of the schedules and wrong for another: then it is a matter of the points.
void check_of_schedules(const SweepAxis& axis, std::vector<std::string> names) {
  std::erase_if(names, [&](const std::string& name) { return !concerns(axis, name); });
  if (names.empty()) fail_axis(axis, axis.column, fmt::format("no schedule of the sweep has an option '{}'; 'bubblescope list' shows which have", axis.key));
  for (const AxisValue& value : axis.values) {
    std::optional<std::string> first;
    const bool right = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      ScenarioDraft alone;
      alone.scenario.schedules.emplace_back().name = name;
      const auto found = refusal(alone, fmt::format("schedule.{}.{}", name, axis.key), value.text);
      if (!first) first = found;
      return !found;
    });
    if (!right) fail_axis(axis, value.column, *first);
  }
}

/// The places of schedules in the file, once they are others.
void forget_schedules(Places& places) {
  std::erase_if(places, [](const auto& place) { return place.first.starts_with("schedule."); });
}

void choose(ScenarioDraft& draft, const std::string& name) {
  auto& schedules = draft.scenario.schedules;
  std::erase_if(schedules, [&](const ScheduleConfig& config) { return config.name != name; });
  if (schedules.empty()) schedules.emplace_back().name = name;
  forget_schedules(draft.places);
}

/// Schedules that differed in what an axis sets are one now.
void merge_equal(ScenarioDraft& draft) {
  std::set<std::string> seen;
  const auto removed = std::erase_if(draft.scenario.schedules, [&](const ScheduleConfig& config) {
    return config.label.empty() && !seen.insert(fmt::format("{} microbatches={}", config.default_label(), config.microbatches)).second;
  });
  if (removed > 0) forget_schedules(draft.places);
}

}  // namespace

void check_axes(std::span<const SweepAxis> axes, const ScenarioDraft& base) {
  for (const SweepAxis& axis : axes) {
    if (axis.what == SweepAxis::What::of_schedules) check_of_schedules(axis, names_of(axes, base));
    if (axis.what != SweepAxis::What::key) continue;
    const Path path = path_of(axis.key);
    const auto& schedules = base.scenario.schedules;
    const bool known = find_key(path.section, path.key) != nullptr ||
                       std::any_of(schedules.begin(), schedules.end(), [&](const ScheduleConfig& config) { return is_called(config, path.which) && has_option(find_schedule(config.name), path.key); });
    for (const AxisValue& value : axis.values) {
      if (const auto wrong = refusal(base, axis.key, value.text)) fail_axis(axis, known ? value.column : axis.column, *wrong);
    }
  }
}

Scenario point_scenario(const ScenarioDraft& base, std::span<const SweepAxis> axes, std::int64_t point) {
  const std::vector<std::string> values = point_values(axes, point);
  ScenarioDraft draft = base;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].what == SweepAxis::What::key) apply_overrides(draft, std::array{fmt::format("{}={}", axes[i].key, values[i])});
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].what == SweepAxis::What::schedule) choose(draft, values[i]);
  }
  bool changed = false;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].what != SweepAxis::What::of_schedules) continue;
    std::set<std::string> names;
    for (const ScheduleConfig& config : draft.scenario.schedules) names.insert(config.name);
    for (const std::string& name : names) {
      if (concerns(axes[i], name)) apply_overrides(draft, std::array{fmt::format("schedule.{}.{}={}", name, axes[i].key, values[i])});
    }
    changed = true;
  }
  if (changed) merge_equal(draft);
  return finish_scenario(std::move(draft));
}

std::set<std::filesystem::path> named_profiles(const ScenarioDraft& base, std::span<const SweepAxis> axes) {
  std::set<std::filesystem::path> files{profile_file(base)};
  for (const SweepAxis& axis : axes) {
    if (axis.key != "costs.profile") continue;
    for (const AxisValue& value : axis.values) {
      ScenarioDraft draft = base;
      apply_overrides(draft, std::array{fmt::format("{}={}", axis.key, value.text)});
      files.insert(profile_file(draft));
    }
  }
  files.erase("");
  return files;
}

}  // namespace bubblescope
