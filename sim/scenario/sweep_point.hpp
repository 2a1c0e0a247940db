// From a point of a sweep's grid to the scenario that it is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <span>

#include "sim/scenario/draft.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/scenario/sweep_axes.hpp"

namespace bubblescope {

/// Throws InputError, as of `parse_axes`, where a key is unknown, a value is none that the key can have, or no
/// schedule of the sweep has the option. What values are together is another matter: points can contradict themselves.
void check_axes(std::span<const SweepAxis> axes, const ScenarioDraft& base);

/// The scenario of a point, its schedules those that are predicted there: the scenario's own, or with an axis
/// `schedule` those of the point's name, with the options that the scenario gives them, else with defaults. Values that a
/// schedule has no option for leave it as it is. Throws InputError where the values contradict each other.
Scenario point_scenario(const ScenarioDraft& base, std::span<const SweepAxis> axes, std::int64_t point);

/// The cost profiles that the base and the axes name.
std::set<std::filesystem::path> named_profiles(const ScenarioDraft& base, std::span<const SweepAxis> axes);

}  // namespace bubblescope
