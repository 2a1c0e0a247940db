// `bubblescope check`: validates a schedule file, level by level.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "bench/commands.hpp"
#include "bench/schedule_flags.hpp"
#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "sim/lower/read_program.hpp"
#include "sim/lower/safe_channels.hpp"
#include "sim/lower/send_recv.hpp"

namespace bubblescope {
namespace {

struct Options {
  std::string file;
  ScheduleFlags flags;
  bool json = false;
};

constexpr const char* kLevels[] = {"every cell can be read", "every stage has all its ops, in order", "no ops wait for each other, whatever the channels are",
                                   "sends and receives match in order, and no deadlock under the channels' rules"};

std::vector<Finding> findings_of(const Program& program) {
  std::vector<Finding> findings = validate(program, 2);
  return findings.empty() ? validate(add_send_recv(program), 3) : findings;
}

/// `safe`: the channels on which it runs; nothing where that was not looked at.
void print(const Options& options, const std::vector<Finding>& findings, const std::optional<std::vector<std::string>>& safe) {
  const int checked = findings.empty() ? 3 : findings.front().level;
  if (options.json) {
    nlohmann::json levels = nlohmann::json::array();
    for (int level = 0; level <= checked; ++level) levels.push_back({{"level", level}, {"what", kLevels[level]}, {"ok", findings.empty() || level < checked}});
    nlohmann::json list = nlohmann::json::array();
    for (const Finding& finding : findings) {
      list.push_back({{"level", finding.level}, {"rank", finding.rank}, {"position", finding.position}, {"op", finding.op}, {"message", finding.message}, {"cycle", finding.cycle}});
    }
    print_json({{"schema_version", 1}, {"file", options.file}, {"ok", findings.empty()}, {"levels", levels}, {"findings", list}, {"safe_channels", safe ? nlohmann::json(*safe) : nlohmann::json(nullptr)}});
  } else {
    for (int level = 0; level <= checked; ++level) fmt::print("V{} {:<4} {}\n", level, findings.empty() || level < checked ? "ok" : "FAIL", kLevels[level]);
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
  std::optional<std::vector<std::string>> safe;
  if (program && (findings.empty() || findings.front().level > 1)) safe = safe_channels(*program);
  print(options, findings, safe);
  if (!program) throw InputError(findings.front().message);  // bad input, and told where such errors are
  return findings.empty() ? 0 : 1;
}

}  // namespace

void add_check(CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(line, "check", "Validates a schedule file (.csv of PyTorch, .psched): completeness, cycles, channel order, deadlock",
                                  "bubblescope check schedule.csv --channel rank");
  command->add_option("file", options->file, "The schedule")->required()->type_name("FILE");
  add_channel_flag(*command, options->flags);
  command->add_flag("--json", options->json, "As JSON");
  command->callback([options, &line] { line.chosen = [options] { return check(*options); }; });
}

}  // namespace bubblescope
