// A scenario between reading and checking: overrides and the points of a sweep change it there.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "sim/scenario/check.hpp"
#include "sim/scenario/scenario.hpp"

namespace bubblescope {

/// What was said, every value right by itself and not yet held against the others. Paths and labels are as given.
struct ScenarioDraft {
  Scenario scenario;
  Places places;
};

/// Reads TOML against the table of keys. Throws InputError as `read_scenario`.
ScenarioDraft draft_scenario(std::string_view text, const std::string& file);
/// Puts values in place of others, in their order (scenario.hpp says how they are written). Throws InputError
/// `--set SECTION.KEY=VALUE: what is wrong; what was expected`.
void apply_overrides(ScenarioDraft& draft, std::span<const std::string> overrides);
/// The cost profile that it names, from the scenario's folder on; empty: none.
std::filesystem::path profile_file(const ScenarioDraft& draft);
/// Fills labels in, anchors paths, and checks what the values are together. Throws InputError.
Scenario finish_scenario(ScenarioDraft draft);

}  // namespace bubblescope
