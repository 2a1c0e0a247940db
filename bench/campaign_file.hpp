// What a campaign consists of: a folder's campaign.toml, or all its scenarios, or a list of scenario files.
#pragma once

#include <filesystem>
#include <vector>

#include "sim/scenario/campaign.hpp"

namespace bubblescope {

/// The campaign of one folder or one `campaign.toml`, or one over the given scenario files. Without a
/// campaign.toml entries are in the order of file names, and speed-ups are against serial local learning and
/// the better of GPipe and 1F1B. Throws InputError `file:line:col: what is wrong; what was expected`.
CampaignConfig read_campaign(const std::vector<std::filesystem::path>& inputs);

}  // namespace bubblescope
