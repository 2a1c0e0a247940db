// What a scenario's values must be together: contradictions between keys that are each in range.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "sim/scenario/scenario.hpp"

namespace bubblescope {

/// Where something was said: a place in the file, counted from 1, or a flag.
struct Place {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  std::string flag = {};  ///< `--set cluster.launch=20us`; empty: in the file
};

/// Where the keys of a scenario were given: `training.batch`, `schedule.0.queue`; sections as
/// `training`, `schedule.0`. Keys that were not given are missing.
using Places = std::map<std::string, Place, std::less<>>;

/// `file:line:col`, or the flag.
std::string place_text(const std::string& file, const Place& place);
/// The place of a key; for one that was not given its section's place, else the file alone.
std::string place_text(const std::string& file, const Places& places, std::string_view key);

/// The key that a schedule's option follows from (clipping, accumulation), or nothing: then it is given
/// with the schedule.
std::string_view derived_from(std::string_view option);

/// Throws InputError for the first contradiction: impossible cuts, patches, heads or microbatches,
/// data that does not fit the model, an auxiliary network that the model cannot have, missing paths,
/// options that a schedule does not have, core lists that are not one per rank, two schedules of one label.
void check_scenario(const Scenario& scenario, const Places& places, const std::string& file);

}  // namespace bubblescope
