// A campaign's report as Markdown, HTML and JSON.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cctype>

#include <nlohmann/json.hpp>

#include "analysis/campaign.hpp"
#include "analysis/escape.hpp"
#include "analysis/html_page.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {
namespace {

using nlohmann::ordered_json;

constexpr const char* kCaption =
    "Times are per iteration. Error is (predicted - measured) / measured. Speed-ups are per sample, against the fastest of the reference's schedules.";

std::string reference_line(const CampaignReference& reference) { return fmt::format("Over {}: against {}", reference.name, fmt::join(reference.schedules, ", ")); }

/// A relative path as a link: bytes that mean something else there are escaped.
std::string link_target(const std::string& report) {
  std::string out;
  for (const char c : report) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || c == '/' || c == '.' || c == '-' || c == '_') out += c;
    else out += fmt::format("%{:02X}", byte);
  }
  return out;
}

template <typename T>
ordered_json or_null(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json side_json(const std::optional<SideNumbers>& side) {
  if (!side) return nullptr;
  return {{"iteration_ns", side->iteration},
          {"repeats_ns", side->repeats},
          {"idle_fraction", side->idle_fraction >= 0 ? ordered_json(side->idle_fraction) : ordered_json(nullptr)},
          {"peak_bytes", side->peak_bytes}};
}

ordered_json schedule_json(const Campaign& campaign, const CampaignScenario& scenario, const ScheduleReport& schedule) {
  ordered_json speedups = ordered_json::array();
  for (const CampaignReference& reference : campaign.references) {
    const CampaignSpeedup speedup = campaign_speedup(campaign, scenario, schedule, reference);
    speedups.push_back({{"over", reference.name}, {"predicted", or_null(speedup.predicted)}, {"measured", or_null(speedup.measured)}});
  }
  return {{"label", schedule.label},
          {"schedule", schedule.schedule},
          {"failure", schedule.failure},
          {"ranks", schedule.ranks},
          {"microbatches", schedule.microbatches},
          {"samples", schedule.samples},
          {"predicted", side_json(schedule.predicted)},
          {"measured", side_json(schedule.measured)},
          {"error", or_null(schedule.error)},
          {"idle_points", or_null(schedule.idle_points)},
          {"speedups", speedups}};
}

ordered_json goal_json(const Campaign& campaign, const CampaignGoal& goal) {
  const GoalResult result = goal_result(campaign, goal);
  const char* verdicts[] = {"met", "missed", "not measured"};
  const char* figures[] = {"error", "idle", "speedup"};
  return {{"goal", goal.name},
          {"figure", figures[static_cast<int>(goal.figure)]},
          {goal.figure == GoalFigure::speedup ? "at_least" : "at_most", goal.bound},
          {"verdict", verdicts[static_cast<int>(result.verdict)]},
          {"value", or_null(result.value)},
          {"scenario", result.scenario},
          {"schedule", result.schedule},
          {"measured", result.measured},
          {"missing", result.missing},
          {"missed", result.missed}};
}

}  // namespace

std::string campaign_markdown(const Campaign& campaign) {
  std::string out = "# " + markdown_text(campaign.title) + "\n\n";
  if (!campaign.date.empty()) out += markdown_text(campaign.date) + "  \n";
  if (!campaign.machine.empty()) out += markdown_text(campaign.machine) + "\n\n";
  for (const std::string& note : campaign.notes) out += "* " + markdown_text(note) + "\n";
  if (!campaign.goals.empty()) out += "\n## Goals\n\n" + to_markdown(goal_table(campaign));
  out += "\n## Schedules\n\n" + to_markdown(campaign_table(campaign)) + "\n" + to_markdown(campaign_utilisation_table(campaign)) + "\n" + kCaption + "\n\n";
  for (const CampaignReference& reference : campaign.references) out += "* " + markdown_text(reference_line(reference)) + "\n";
  const std::vector<std::string> failures = campaign_failures(campaign);
  if (!failures.empty()) out += "\n## Failed\n\n";
  for (const std::string& line : failures) out += "* " + markdown_text(line) + "\n";
  out += "\n## Reports of the scenarios\n\n";
  for (const CampaignScenario& scenario : campaign.scenarios) {
    out += scenario.report.empty() ? fmt::format("* {}: {}\n", markdown_text(scenario.name), scenario.status)
                                   : fmt::format("* [{}]({}.md): {}\n", markdown_text(scenario.name), link_target(scenario.report), scenario.status);
  }
  if (!campaign.command.empty()) out += "\n## Command\n\n" + markdown_fence(campaign.command, "");
  return out;
}

std::string campaign_html(const Campaign& campaign) {
  std::string out = "<header>\n<h1>" + html_text(campaign.title) + "</h1>\n";
  if (!campaign.machine.empty()) out += "<p class=\"machine\">" + html_text(campaign.machine) + "</p>\n";
  if (!campaign.date.empty()) out += "<p class=\"date\">" + html_text(campaign.date) + "</p>\n";
  out += "</header>\n<ul class=\"notes\">\n";
  for (const std::string& note : campaign.notes) out += "<li>" + html_text(note) + "</li>\n";
  out += "</ul>\n";
  if (!campaign.goals.empty()) out += "<section id=\"goals\">\n<h2>Goals</h2>\n" + html_table(goal_table(campaign)) + "</section>\n";
  out += "<section id=\"summary\">\n<h2>Schedules</h2>\n" + html_table(campaign_table(campaign)) + html_table(campaign_utilisation_table(campaign));
  out += fmt::format("<p class=\"caption\">{}", kCaption);
  for (const CampaignReference& reference : campaign.references) out += "<br>" + html_text(reference_line(reference));
  out += "</p>\n";
  for (const std::string& line : campaign_failures(campaign)) out += "<p class=\"failure\">" + html_text(line) + "</p>\n";
  out += "</section>\n<section id=\"scenarios\">\n<h2>Reports of the scenarios</h2>\n<ul>\n";
  for (const CampaignScenario& scenario : campaign.scenarios) {
    const std::string name = html_text(scenario.name);
    out += fmt::format("<li>{}: {}</li>\n", scenario.report.empty() ? name : fmt::format("<a href=\"{}.html\">{}</a>", link_target(scenario.report), name), scenario.status);
  }
  out += "</ul>\n</section>\n<section id=\"origin\">\n<h2>How it was made</h2>\n<pre>" + html_text(campaign.command) + "</pre>\n</section>\n";
  return html_page({campaign.title, out, ""});
}

std::string campaign_json(const Campaign& campaign) {
  ordered_json scenarios = ordered_json::array(), goals = ordered_json::array();
  for (const CampaignScenario& scenario : campaign.scenarios) {
    ordered_json schedules = ordered_json::array();
    for (const ScheduleReport& schedule : scenario.schedules) schedules.push_back(schedule_json(campaign, scenario, schedule));
    scenarios.push_back({{"name", scenario.name}, {"status", scenario.status}, {"reason", scenario.reason}, {"report", scenario.report}, {"schedules", schedules}});
  }
  for (const CampaignGoal& goal : campaign.goals) goals.push_back(goal_json(campaign, goal));
  const ordered_json root = {{"schema_version", 1},   {"title", campaign.title}, {"command", campaign.command}, {"machine", campaign.machine},
                             {"date", campaign.date}, {"notes", campaign.notes}, {"scenarios", scenarios},      {"goals", goals}};
  return root.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::vector<std::filesystem::path> write_campaign(const Campaign& campaign, const std::filesystem::path& folder) {
  const std::vector<std::filesystem::path> files{folder / "report.html", folder / "report.md", folder / "report.json"};
  write_file(files[0], campaign_html(campaign));
  write_file(files[1], campaign_markdown(campaign));
  write_file(files[2], campaign_json(campaign));
  return files;
}

}  // namespace bubblescope
