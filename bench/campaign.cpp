// `bubblescope campaign`: many scenarios one after another, each as `bubblescope run` does it in a process of
// its own, within a time limit; it goes on where it was cut off, and reports on all of them together.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "bench/campaign_results.hpp"
#include "bench/child.hpp"
#include "bench/commands.hpp"
#include "bench/interrupt.hpp"
#include "bench/progress.hpp"
#include "bench/schedule_flags.hpp"
#include "bench/version.hpp"
#include "sim/core/error.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr const char* kDefault = "scenarios/h200";

struct Options {
  std::vector<std::string> scenarios;
  ScheduleFlags flags;
  std::string out;
  std::string limit;
  bool json = false;
};

std::string seconds_text(double seconds) { return format_duration(static_cast<Nanos>(std::round(seconds)) * kSecond); }

/// The default lies beside the program where both were carried to another machine, else in the checkout.
std::vector<std::filesystem::path> inputs_of(const Options& options) {
  if (!options.scenarios.empty()) return {options.scenarios.begin(), options.scenarios.end()};
  std::error_code error;
  const auto carried = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / kDefault;
  return {std::filesystem::exists(carried) ? carried : std::filesystem::path(kDefault)};
}

/// One campaign at a time works in a folder.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder) : file_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (file_ >= 0 && flock(file_, LOCK_EX | LOCK_NB) == 0) return;
    const int reason = errno;
    if (file_ >= 0) close(file_);
    file_ = -1;
    if (reason == EWOULDBLOCK) throw InputError(fmt::format("{}: another campaign is at work there; expected a folder of its own", folder.string()));
    fmt::print(stderr, "bubblescope: {} cannot be locked ({}); nothing keeps another campaign from working there\n", folder.string(), strerror(reason));
  }
  ~FolderLock() {
    if (file_ >= 0) close(file_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_;
};

/// What the child said was wrong, without the program's name before every line.
std::string reason_of(const ChildEnd& end) {
  std::string reason;
  std::size_t begin = 0;
  constexpr std::string_view kPrefix = "bubblescope: ";
  while (begin < end.said.size()) {
    const std::size_t stop = std::min(end.said.find('\n', begin), end.said.size());
    std::string_view line(end.said.data() + begin, stop - begin);
    if (line.starts_with(kPrefix)) reason += (reason.empty() ? "" : "; ") + std::string(line.substr(kPrefix.size()));
    begin = stop + 1;
  }
  if (reason.empty()) {
    // Not its own words: the loader's, a library's.
    std::string_view rest(end.said);
    while (!rest.empty() && rest.back() == '\n') rest.remove_suffix(1);
    if (const std::size_t line = rest.rfind('\n'); line != std::string_view::npos) rest.remove_prefix(line + 1);
    reason = rest;
    if (reason.find("shared libraries") != std::string::npos) reason += " (BUBBLESCOPE_LIBTORCH names the folder that holds torch/ and nvidia/)";
  }
  if (end.signal != 0) return fmt::format("ended by signal {} ({}){}", end.signal, strsignal(end.signal), reason.empty() ? "" : ": " + reason);
  return reason.empty() ? fmt::format("ended with exit code {}", end.code) : reason;
}

class Session {
 public:
  Session(const Options& options, const std::vector<CampaignUnit>& units)
      : folder_(options.out), units_(units), state_(read_campaign_state(folder_)), begin_(Clock::now()), progress_("", static_cast<std::int64_t>(units.size())) {
    const bool bare = std::none_of(options.limit.begin(), options.limit.end(), [](unsigned char c) { return std::isalpha(c) != 0; });
    if (!options.limit.empty() && bare) throw InputError(fmt::format("--time-limit {}: expected a unit, such as 20min or 90s", options.limit));
    if (!options.limit.empty()) limit_ = static_cast<double>(parse_duration(options.limit)) / static_cast<double>(kSecond);
    for (const CampaignUnit& unit : units_) require_own(unit.entry.name);
  }

  /// Runs what is not complete yet: what was never tried first, so that one that hangs or fails does not
  /// keep the others from their turn.
  void run() {
    std::vector<const CampaignUnit*> open;
    for (const CampaignUnit& unit : units_) {
      if (!settled(unit)) open.push_back(&unit);
    }
    std::stable_sort(open.begin(), open.end(), [&](const CampaignUnit* a, const CampaignUnit* b) { return attempts(*a) < attempts(*b); });
    for (const CampaignUnit* unit : open) {
      if (interrupt_.flag()->load() || left() <= 0) break;
      const double expected = expected_seconds(state_, unit->entry.name, unit->work());
      if (expected > left()) {
        tell(unit->entry.name, fmt::format("takes about {}, but {} are left; it is not begun", seconds_text(expected), seconds_text(std::max(0.0, left()))));
        if (limit_ > 0 && expected > usable()) tell(unit->entry.name, fmt::format("needs a longer --time-limit than {}", seconds_text(limit_)));
        continue;
      }
      run_one(*unit);
    }
    progress_.done();
  }

  const CampaignState& state() const { return state_; }
  bool interrupted() const { return interrupt_.flag()->load(); }

 private:
  void tell(const std::string& name, const std::string& what) {
    progress_.done();
    fmt::print(stderr, "{}: {}\n", name, what);
  }

  /// A folder of that name that is not this campaign's would be lost.
  void require_own(const std::string& name) const {
    std::error_code error;
    const auto folder = folder_ / name;
    if (state_.contains(name) || !std::filesystem::exists(folder, error) || std::filesystem::is_empty(folder, error)) return;
    throw InputError(fmt::format("{}: is there already and is no part of a campaign; expected another --out", folder.string()));
  }

  std::int64_t attempts(const CampaignUnit& unit) const {
    const auto known = state_.find(unit.entry.name);
    return known == state_.end() ? 0 : known->second.attempts;
  }

  bool settled(const CampaignUnit& unit) {
    const auto known = state_.find(unit.entry.name);
    if (known == state_.end() || known->second.status != "complete") return false;
    if (!unit.described_by(known->second)) {
      tell(unit.entry.name, known->second.version == version_text() ? "the scenario has changed; it is run again" : "was run by another version of the program; it is run again");
      return false;
    }
    if (stored_results(folder_ / unit.entry.name)) return true;
    tell(unit.entry.name, "its results are not there any more or damaged; it is run again");
    return false;
  }

  /// Of the limit, without what writing the report may take.
  double usable() const { return limit_ - std::min(8.0, limit_ / 5); }
  double left() const { return limit_ > 0 ? usable() - Seconds(Clock::now() - begin_).count() : HUGE_VAL; }

  void run_one(const CampaignUnit& unit) {
    const CampaignEntry& entry = unit.entry;
    // Results of an earlier try stay until there are new ones. Where there are none the state says `begun`, so that
    // whatever a kill leaves is not taken for results.
    ScenarioState& state = state_[entry.name];
    const ScenarioState before = state;
    const std::int64_t tried = state.attempts;
    const bool earlier = state.status == "failed" && unit.described_by(state) && stored_results(folder_ / entry.name).has_value();
    state = {"begun", "", unit.scenario.text, version_text(), build_, unit.labels(), 0, unit.work(), tried + 1};
    if (!earlier) {
      write_campaign_state(folder_, state_);
      clear(entry.name);
    }
    const std::string fresh = earlier ? entry.name + ".again" : entry.name;
    clear(fresh);

    std::vector<std::string> arguments{"run", entry.file.string(), "--out", (folder_ / fresh).string()};
    for (const std::string& change : entry.overrides) arguments.insert(arguments.end(), {"--set", change});
    const auto start = Clock::now();
    const auto elapsed = [&] { return Seconds(Clock::now() - start).count(); };
    const double own_limit = entry.limit > 0 ? static_cast<double>(entry.limit) / static_cast<double>(kSecond) : HUGE_VAL;
    bool too_long = false;
    progress_.label(entry.name);
    const ChildEnd end = run_child(arguments, [&] {
      too_long = elapsed() > own_limit;
      return too_long || interrupted() || left() <= 0;
    });
    state.seconds = elapsed();
    progress_.advance();
    if (end.code == 0) {
      state.status = "complete";
      tell(entry.name, fmt::format("complete after {}", seconds_text(state.seconds)));
    } else if (!end.cut || too_long) {
      state.status = "failed";
      state.reason = too_long ? fmt::format("took longer than its limit of {}", seconds_text(own_limit)) : reason_of(end);
      tell(entry.name, "failed: " + state.reason);
    } else {
      tell(entry.name, fmt::format("cut off after {}", seconds_text(state.seconds)));
    }
    if (end.cut && end.code != 0) clear(fresh);  // rounds until then are no whole result
    if (earlier && end.code >= 0 && stored_results(folder_ / fresh)) {  // not: rounds until it crashed
      clear(entry.name);
      std::filesystem::rename(folder_ / fresh, folder_ / entry.name);
    } else if (earlier) {
      clear(fresh);
      state = before;
      state.attempts = tried + 1;
    }
    write_campaign_state(folder_, state_);
  }

  void clear(const std::string& name) const {
    std::error_code error;
    std::filesystem::remove_all(folder_ / name, error);
    if (error) throw RunError(fmt::format("{}: cannot be replaced: {}", (folder_ / name).string(), error.message()));
  }

  std::filesystem::path folder_;
  const std::vector<CampaignUnit>& units_;
  CampaignState state_;
  std::string build_ = build_text();
  Clock::time_point begin_;
  double limit_ = 0;  ///< seconds; 0: none
  Interrupt interrupt_;
  Progress progress_;
};

int run_campaign(const Options& options, const CommandLine& line) {
  const CampaignConfig plan = read_campaign(inputs_of(options));
  const std::vector<CampaignUnit> units = read_units(plan, options.flags.overrides);
  require_writable(options.out);
  const FolderLock lock(options.out);
  Session session(options, units);
  session.run();

  const Campaign campaign = campaign_so_far(plan, units, session.state(), options.out, fmt::format("bubblescope {}", fmt::join(line.arguments, " ")));
  std::vector<std::string> files, left, failed;
  for (const auto& file : write_campaign(campaign, options.out)) files.push_back(file.string());
  for (const CampaignScenario& scenario : campaign.scenarios) {
    if (scenario.status == "not run") left.push_back(scenario.name);
    if (scenario.status == "failed") failed.push_back(scenario.name);
  }
  if (options.json) {
    print_json({{"schema_version", 1}, {"interrupted", session.interrupted()}, {"left", left}, {"failed", failed}, {"files", files}, {"report", nlohmann::json::parse(campaign_json(campaign))}});
  } else {
    if (!campaign.goals.empty()) fmt::print("{}\n", to_text(goal_table(campaign)));
    fmt::print("{}\n{}\n{}\n", to_text(campaign_table(campaign)), to_text(campaign_utilisation_table(campaign)), fmt::join(files, "\n"));
  }
  if (!left.empty()) fmt::print(stderr, "bubblescope: {}; not run yet: {}; run the same command again to go on\n", session.interrupted() ? "interrupted" : "the time limit is reached", fmt::join(left, ", "));
  if (!failed.empty()) fmt::print(stderr, "bubblescope: failed: {}; the same command tries them again\n", fmt::join(failed, ", "));
  return left.empty() && failed.empty() ? 0 : 1;
}

}  // namespace

void add_campaign(CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(line, "campaign", "Runs many scenarios within a time limit, goes on where it was cut off, and reports on all of them together",
                                  "bubblescope campaign --out out/h200 --time-limit 20min\n"
                                  "  bubblescope campaign --scenarios scenarios/cpu2/vit.toml scenarios/cpu2/resnet32.toml --out out/cpu2");
  command->add_option("--out", options->out, "Folder for a folder of results per scenario, and the report")->required()->type_name("DIR");
  command->add_option("--scenarios", options->scenarios, fmt::format("A folder (its campaign.toml, or all its scenarios in the order of their names), a campaign.toml, or scenario files; default: {}", kDefault))->type_name("DIR|FILES...");
  command->add_option("--time-limit", options->limit, "Begins no scenario that would not end within it, and ends one that does not: 20min, 90s; default: none")->type_name("D");
  add_set_flag(*command, options->flags);
  command->add_flag("--json", options->json, "As JSON");
  command->callback([options, &line] { line.chosen = [options, &line] { return run_campaign(*options, line); }; });
}

}  // namespace bubblescope
