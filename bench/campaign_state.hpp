// What a campaign has done so far: one small file in its folder, so that it can be cut off at any time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace bubblescope {

/// One scenario's part.
struct ScenarioState {
  std::string status;    ///< `complete`, `failed`; `begun`: cut off
  std::string reason;    ///< of a failure
  std::string scenario;  ///< its text, overrides included, when it was run
  std::string version;   ///< of the program then
  std::string build;     ///< likewise (build_text); empty: not known
  std::vector<std::string> schedules;  ///< labels
  double seconds = 0;    ///< that it took; cut off: until then
  std::int64_t work = 0; ///< schedules times rounds
  std::int64_t attempts = 0;
};

/// Name of a scenario -> what became of it.
using CampaignState = std::map<std::string, ScenarioState>;

/// Nothing where the folder has no campaign yet. Throws InputError where the file is not one of a campaign.
CampaignState read_campaign_state(const std::filesystem::path& folder);
/// Throws RunError.
void write_campaign_state(const std::filesystem::path& folder, const CampaignState& state);

/// Seconds that `work` will probably take: by what the scenario itself took before, else by the slowest
/// complete one; 0 where nothing is known.
double expected_seconds(const CampaignState& state, const std::string& name, std::int64_t work);

}  // namespace bubblescope
