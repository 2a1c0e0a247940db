// The state of a campaign as JSON.
#include "bench/campaign_state.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sim/core/error.hpp"
#include "sim/core/read_file.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {

using nlohmann::json;

namespace {

/// What was cut off takes longer than until then.
constexpr double kLongerThanCut = 1.25;

std::filesystem::path file_of(const std::filesystem::path& folder) { return folder / "campaign.json"; }

}  // namespace

CampaignState read_campaign_state(const std::filesystem::path& folder) {
  const auto file = file_of(folder);
  if (!std::filesystem::exists(file)) return {};
  CampaignState state;
  try {
    const json root = json::parse(read_file(file, "the state of a campaign"));
    if (root.at("schema_version") != 1) throw InputError(fmt::format("{}: 'schema_version' is {}; expected 1", file.string(), root.at("schema_version").dump()));
    for (const auto& [name, entry] : root.at("scenarios").items()) {
      ScenarioState& one = state[name];
      one.status = entry.at("status");
      one.reason = entry.at("reason");
      one.scenario = entry.at("scenario");
      one.version = entry.at("version");
      one.build = entry.value("build", "");
      one.schedules = entry.at("schedules").get<std::vector<std::string>>();
      one.seconds = entry.at("seconds");
      one.work = entry.at("work");
      one.attempts = entry.at("attempts");
    }
  } catch (const json::exception& error) {
    throw InputError(fmt::format("{}: not the state of a campaign, or cut short: {}; without this file the campaign begins anew", file.string(), error.what()));
  }
  return state;
}

void write_campaign_state(const std::filesystem::path& folder, const CampaignState& state) {
  json scenarios = json::object();
  for (const auto& [name, one] : state) {
    scenarios[name] = {{"status", one.status},       {"reason", one.reason},   {"scenario", one.scenario}, {"version", one.version}, {"build", one.build},
                       {"schedules", one.schedules}, {"seconds", one.seconds}, {"work", one.work},         {"attempts", one.attempts}};
  }
  write_file(file_of(folder), json{{"schema_version", 1}, {"scenarios", scenarios}}.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

double expected_seconds(const CampaignState& state, const std::string& name, std::int64_t work) {
  double slowest = 0;
  for (const auto& [other, one] : state) {
    if (one.status == "complete" && one.work > 0) slowest = std::max(slowest, one.seconds / static_cast<double>(one.work));
  }
  double expected = slowest * static_cast<double>(work);
  const auto own = state.find(name);
  if (own == state.end() || own->second.work <= 0) return expected;
  const double before = own->second.seconds * static_cast<double>(work) / static_cast<double>(own->second.work);
  if (own->second.status == "complete") return before;
  return own->second.status == "begun" ? std::max(expected, kLongerThanCut * before) : expected;
}

}  // namespace bubblescope
