// From what a campaign's folder holds to its report.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "analysis/campaign.hpp"
#include "bench/campaign_file.hpp"
#include "bench/campaign_state.hpp"
#include "sim/scenario/scenario.hpp"

namespace bubblescope {

/// One scenario of a campaign, read.
struct CampaignUnit {
  CampaignEntry entry;
  Scenario scenario;

  std::vector<std::string> labels() const;                ///< of its schedules
  std::int64_t work() const;                              ///< schedules times rounds
  /// Whether `state` is about this very scenario and this very program.
  bool described_by(const ScenarioState& state) const;
};

/// All scenarios of the plan. Throws InputError where one cannot be read, has no schedule, or where a goal
/// or a reference names a schedule that none of them has.
std::vector<CampaignUnit> read_units(const CampaignConfig& plan, const std::vector<std::string>& overrides);

/// The stored results in that folder; nothing where there are none that can be read.
std::optional<ReportModel> stored_results(const std::filesystem::path& folder);

/// Everything that was measured so far.
Campaign campaign_so_far(const CampaignConfig& plan, const std::vector<CampaignUnit>& units, const CampaignState& state, const std::filesystem::path& folder, const std::string& command);

}  // namespace bubblescope
