// `bubblescope list`: schedules, models, auxiliary networks, devices.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/table.hpp"
#include "bench/commands.hpp"
#include "sim/schedules/registry.hpp"
#include "sim/workload/auxiliary.hpp"
#include "sim/workload/hardware.hpp"
#include "sim/workload/models.hpp"

namespace bubblescope {
namespace {

struct Options {
  std::string what = "schedules";
  bool json = false;
};

nlohmann::json schedules_json() {
  nlohmann::json list = nlohmann::json::array();
  for (const Schedule& schedule : schedules()) {
    nlohmann::json options = nlohmann::json::array();
    for (const ScheduleOption& option : schedule.options) {
      options.push_back({{"name", option.name}, {"meaning", option.meaning}, {"default", option.default_value}, {"choices", option.choices}});
    }
    list.push_back({{"name", schedule.name}, {"title", schedule.title}, {"paper", schedule.paper}, {"memory", schedule.memory},
                    {"bubble", schedule.bubble}, {"local", schedule.local}, {"flush", schedule.flush}, {"whole_batches", schedule.whole_batches}, {"options", options}});
  }
  return list;
}

void print_schedules() {
  for (const Schedule& schedule : schedules()) {
    fmt::print("{}\n  {}\n  paper:  {}\n  memory: {}\n  bubble: {}\n", schedule.name, schedule.title, schedule.paper, schedule.memory, schedule.bubble);
    for (const ScheduleOption& option : schedule.options) {
      fmt::print("  --{} {}  {} (default {})\n", option.name, option.choices.empty() ? "N" : fmt::format("{}", fmt::join(option.choices, "|")), option.meaning, option.default_value);
    }
    fmt::print("\n");
  }
}

int list(const Options& options) {
  std::vector<std::string> names;
  if (options.what == "schedules") {
    if (options.json) {
      print_json({{"schema_version", 1}, {"schedules", schedules_json()}});
    } else {
      print_schedules();
    }
    return 0;
  }
  names = options.what == "models" ? model_names() : options.what == "auxiliaries" ? auxiliary_names() : hardware_names();
  if (options.json) {
    print_json({{"schema_version", 1}, {options.what, names}});
  } else {
    fmt::print("{}\n", fmt::join(names, "\n"));
  }
  return 0;
}

}  // namespace

void add_list(CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(line, "list", "Shows what there is: schedules, models, auxiliary networks, devices", "bubblescope list schedules");
  command->add_option("what", options->what, "schedules (default), models, auxiliaries or devices")->check(CLI::IsMember({"schedules", "models", "auxiliaries", "devices"}));
  command->add_flag("--json", options->json, "As JSON");
  command->callback([options, &line] { line.chosen = [options] { return list(*options); }; });
}

CLI::App* add_command(CommandLine& line, const std::string& name, const std::string& what, const std::string& example) {
  CLI::App* command = line.app.add_subcommand(name, what);
  command->footer("Example:\n  " + example);
  return command;
}

void print_json(const nlohmann::json& answer) { fmt::print("{}\n", answer.dump(2, ' ', false, nlohmann::json::error_handler_t::replace)); }

}  // namespace bubblescope
