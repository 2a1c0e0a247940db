// `bubblescope check`: validates a schedule file, level by level.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "bench/commands.hpp"
#include "bench/schedule_flags.hpp"
#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "sim/core/weight_versions.hpp"
#include "sim/lower/read_program.hpp"
#include "sim/lower/safe_channels.hpp"
#include "sim/lower/send_recv.hpp"

namespace bubblescope {
namespace {

struct Options {
  std::string file;
  ScheduleFlags flags;
  std::int32_t most_updates = -1;  ///< bound of V5; -1: none
  bool json = false;
};

constexpr const char* kLevels[] = {"every cell can be read", "every stage has all its ops, in order", "no ops wait for each other, whatever the channels are",
                                   "sends and receives match in order, and no deadlock under the channels' rules"};

std::vector<Finding> findings_of(const Program& program) {
  std::vector<Finding> findings = validate(program, 2);
  return findings.empty() ? validate(add_send_recv(program), 3) : findings;
}

/// V5: how many updates gradients are older than the weights they change, stage by stage.
std::vector<Finding> stale_stages(const std::vector<std::int32_t>& updates, std::int32_t most) {
  std::vector<Finding> findings;
  for (std::size_t s = 0; most >= 0 && s < updates.size(); ++s) {
    if (updates[s] <= most) continue;
    findings.emplace_back();
    findings.back().level = 5;
    findings.back().message = fmt::format("stage {}: gradients {} updates old; expected at most {}", s, updates[s], most);
  }
  return findings;
}

/// What was looked at beyond the levels; nothing where the program did not get so far.
struct Further {
  std::optional<std::vector<std::string>> safe;      ///< the channels on which it runs
  std::optional<std::vector<std::int32_t>> updates;  ///< stage -> staleness
};

struct Level {
  int number;
  std::string what;
};

std::vector<Level> levels_looked_at(const std::vector<Finding>& findings, const Further& further) {
  std::vector<Level> levels;
  for (int level = 0; level <= 3 && (findings.empty() || level <= findings.front().level); ++level) levels.push_back({level, kLevels[level]});
  if (further.updates) {
    const auto most = std::max_element(further.updates->begin(), further.updates->end());
    levels.push_back({5, *most == 0 ? std::string("every gradient changes the weights it was computed for")
                                    : fmt::format("gradients are at most {} updates old (stage {})", *most, most - further.updates->begin())});
  }
  return levels;
}

void print(const Options& options, const std::vector<Finding>& findings, const Further& further) {
  const auto& [safe, updates] = further;
  const auto ok = [&](const Level& level) { return findings.empty() || level.number < findings.front().level; };
  const std::vector<Level> looked_at = levels_looked_at(findings, further);
  if (options.json) {
    nlohmann::json levels = nlohmann::json::array();
    for (const Level& level : looked_at) levels.push_back({{"level", level.number}, {"what", level.what}, {"ok", ok(level)}});
    nlohmann::json list = nlohmann::json::array();
    for (const Finding& finding : findings) {
      list.push_back({{"level", finding.level}, {"rank", finding.rank}, {"position", finding.position}, {"op", finding.op}, {"message", finding.message}, {"cycle", finding.cycle}});
    }
    print_json({{"schema_version", 1}, {"file", options.file}, {"ok", findings.empty()}, {"levels", levels}, {"findings", list}, {"safe_channels", safe ? nlohmann::json(*safe) : nlohmann::json(nullptr)},
                {"staleness", updates ? nlohmann::json(*updates) : nlohmann::json(nullptr)}});
  } else {
    for (const Level& level : looked_at) fmt::print("V{} {:<4} {}\n", level.number, ok(level) ? "ok" : "FAIL", level.what);
    for (const Finding& finding : findings) {
      fmt::print("  {}\n", describe(finding));
      for (const std::string& op : finding.cycle) fmt::print("    {} waits for\n", op);
      if (!finding.cycle.empty()) fmt::print("    {}\n", finding.cycle.front());
    }
    if (safe) fmt::print("{}", safe_channels_text(*safe));
  }
}

int check(const Options& options) {
  std::optional<Program> program;
  std::vector<Finding> findings;
  try {
    program = read_program(options.file);
  } catch (const InputError& error) {
    findings.emplace_back();
    findings.back().level = 0;
    findings.back().message = error.what();
  }
  if (program) {
    apply_channel(*program, options.flags);
    findings = findings_of(*program);
  }
  Further further;
  if (program && !is_local(program->profile) && (findings.empty() || findings.front().level > 1)) further.safe = safe_channels(*program);
  if (program && findings.empty()) {
    further.updates = staleness(*program);
    findings = stale_stages(*further.updates, options.most_updates);
  }
  print(options, findings, further);
  if (!program) throw InputError(findings.front().message);  // bad input, and told where such errors are
  return findings.empty() ? 0 : 1;
}

}  // namespace

void add_check(CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(line, "check", "Validates a schedule file (.csv of PyTorch, .psched): completeness, cycles, channel order, deadlock, staleness",
                                  "bubblescope check schedule.csv --channel rank");
  command->add_option("file", options->file, "The schedule")->required()->type_name("FILE");
  add_channel_flag(*command, options->flags);
  command->add_option("--max-staleness", options->most_updates, "How many updates a gradient may be older than the weights it changes")->type_name("N")->check(CLI::NonNegativeNumber);
  command->add_flag("--json", options->json, "As JSON");
  command->callback([options, &line] { line.chosen = [options] { return check(*options); }; });
}

}  // namespace bubblescope
