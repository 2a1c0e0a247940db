// campaign.toml: a list of scenarios that are run one after another, what speed-ups are against, and goals.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sim/core/time.hpp"

namespace bubblescope {

struct CampaignEntry {
  std::string name;                    ///< of its results' folder: letters, digits, `.`, `-`, `_`
  std::filesystem::path file;
  std::vector<std::string> overrides;  ///< as of `--set`
  std::vector<std::string> beside;     ///< entries whose schedules count as references, too
  Nanos limit = 0;                     ///< a run that takes longer has failed; 0: none
};

struct ReferenceConfig {
  std::string name;
  std::vector<std::string> schedules;  ///< labels; speed-ups are against the fastest
};

struct GoalConfig {
  std::string name;
  std::string figure = "error";        ///< error, idle, speedup
  std::string over;                    ///< speedup: a reference
  std::vector<std::string> scenarios;  ///< names of entries; empty: all
  std::vector<std::string> schedules;  ///< labels; empty: all
  std::string of = "every";            ///< every, best
  double bound = 0;                    ///< at least (speedup) or at most (error, idle)
};

struct CampaignConfig {
  std::filesystem::path file;  ///< empty: not read from one
  std::string title = "Campaign";
  std::vector<CampaignEntry> entries;
  std::vector<ReferenceConfig> references;
  std::vector<GoalConfig> goals;
};

/// Reads one. Entries and references that are named are there; schedules are not looked up. Throws InputError
/// `file:line:col: what is wrong; what was expected`.
CampaignConfig read_campaign_file(const std::filesystem::path& file);

}  // namespace bubblescope
