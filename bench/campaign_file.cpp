// What a campaign consists of, from its inputs.
#include "bench/campaign_file.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bench/run_folder.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

constexpr const char* kName = "campaign.toml";

std::vector<std::filesystem::path> scenarios_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), last; !error && entry != last; entry.increment(error)) {
    if (entry->path().extension() == ".toml") files.push_back(entry->path());
  }
  if (error) throw InputError(fmt::format("{}: cannot be read: {}; expected a folder of scenarios", folder.string(), error.message()));
  if (files.empty()) throw InputError(fmt::format("{}: there is no scenario in it; expected files *.toml", folder.string()));
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

CampaignConfig read_campaign(const std::vector<std::filesystem::path>& inputs) {
  std::vector<std::filesystem::path> files = inputs;
  if (inputs.size() == 1) {
    const bool folder = std::filesystem::is_directory(inputs.front());
    const auto list = folder ? inputs.front() / kName : inputs.front();
    if (list.filename() == kName && (!folder || std::filesystem::exists(list))) return read_campaign_file(list);
    if (folder) files = scenarios_in(inputs.front());
  }
  CampaignConfig plan;
  plan.references = {{"serial local", {"sequential-local variant=serial", "sequential-local"}}, {"best of GPipe, 1F1B", {"gpipe", "1f1b"}}};
  std::vector<std::string> names;
  for (const auto& file : files) names.push_back(file.stem().string());
  const std::vector<std::string> stems = file_stems(names);
  for (std::size_t i = 0; i < files.size(); ++i) plan.entries.push_back({stems[i], files[i], {}, {}, 0});
  return plan;
}

}  // namespace bubblescope
