// Shared flags: reading them into programs and costs.
#include "bench/schedule_flags.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "sim/core/cost_list.hpp"
#include "sim/core/error.hpp"
#include "sim/lower/passes.hpp"
#include "sim/lower/recompute.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

Link link_of(const ScheduleFlags& flags) { return {flags.latency.empty() ? 0 : parse_duration(flags.latency), 0}; }

}  // namespace

void add_shape_flags(CLI::App& command, ScheduleFlags& flags) {
  command.add_option("--schedule", flags.schedule, "Schedules by name, separated by commas, or 'all'");
  command.add_option("--ranks", flags.ranks, "Ranks (devices)")->type_name("P");
  command.add_option("--microbatches", flags.microbatches, "Microbatches per iteration")->type_name("M");
}

void add_search_flags(CLI::App& command, ScheduleFlags& flags) {
  command.add_option("--cost", flags.cost, "Time of a rank's share of one microbatch by kind: F=1,I=1,W=1 or F=1:2:1:1,B=2ms (bare numbers: ms)")->type_name("LIST");
  command.add_option("--latency", flags.latency, "Time a message takes between ranks, e.g. 10us; default 0")->type_name("D");
}

void add_cost_flags(CLI::App& command, ScheduleFlags& flags) {
  add_search_flags(command, flags);
  add_channel_flag(command, flags);
  add_lower_flag(command, flags);
  command.add_option("--iterations", flags.iterations, "Iterations one after another, without a barrier; default 1")->type_name("N")->check(CLI::Range(1, 1'000'000));
}

void add_channel_flag(CLI::App& command, ScheduleFlags& flags) {
  command.add_option("--channel", flags.channel,
                     "How transfers wait for each other: async (default), rank, data, edge; with properties as of #channel: rank,eager=64KiB or edge,capacity=2,send=commit")
      ->type_name("MODE");
}

void add_lower_flag(CLI::App& command, ScheduleFlags& flags) {
  command.add_option("--lower", flags.lower, fmt::format("PyTorch's lowering passes besides sends and receives, separated by commas: {}; unshard=N keeps N stages", fmt::join(lowering_names(), ", ")))->type_name("LIST");
}

void add_set_flag(CLI::App& command, ScheduleFlags& flags) {
  // Not bound to the vector: then CLI11 would take lists such as [3, 64, 64] apart.
  command.add_option_function<std::string>("--set", [&flags](const std::string& text) { flags.overrides.push_back(text); },
                                           "Instead of what the scenario says, any number of times: SECTION.KEY=VALUE or schedule.NAME.KEY=VALUE")
      ->trigger_on_parse()
      ->type_name("KEY=VALUE");
}

void add_option_flags(CLI::App& command, ScheduleFlags& flags) {
  std::map<std::string, std::pair<std::string, std::string>> all;  // name -> meaning, schedules
  for (const Schedule& schedule : schedules()) {
    for (const ScheduleOption& option : schedule.options) {
      auto& [meaning, who] = all[option.name];
      if (meaning.empty()) meaning = fmt::format("{}; default {}", option.meaning, option.default_value);
      who += (who.empty() ? "" : ", ") + schedule.name;
    }
  }
  for (const auto& [name, text] : all) {
    const std::string option = name;
    command.add_option_function<std::string>(
        "--" + option, [&flags, option](const std::string& value) { flags.options[option] = value; }, fmt::format("{} ({})", text.first, text.second))
        ->group("Schedules' own options")
        ->type_name("");
  }
  command.add_option("--recompute", flags.recompute, "Stages that keep only the input of a forward and run it again before its backward: 'all', or their places in the chain, 0:2")->type_name("STAGES");
}

std::vector<std::string> schedule_names(const std::string& text) {
  std::vector<std::string> names;
  if (text == "all") {
    for (const Schedule& schedule : schedules()) names.push_back(schedule.name);
    return names;
  }
  std::stringstream stream(text);
  for (std::string name; std::getline(stream, name, ',');) {
    names.push_back(find_schedule(name).name);
    if (std::count(names.begin(), names.end(), names.back()) > 1) throw InputError(fmt::format("--schedule names '{}' twice", names.back()));
  }
  if (names.empty()) throw InputError("no schedule is named; 'bubblescope list' shows all");
  return names;
}

std::map<std::string, std::string> options_of(const std::string& schedule, const std::map<std::string, std::string>& options) {
  std::map<std::string, std::string> result;
  for (const ScheduleOption& option : find_schedule(schedule).options) {
    if (const auto found = options.find(option.name); found != options.end()) result.insert(*found);
  }
  return result;
}

void require_options_used(const std::vector<std::string>& schedules, const std::map<std::string, std::string>& options) {
  for (const auto& [name, value] : options) {
    const bool used = std::any_of(schedules.begin(), schedules.end(), [&](const std::string& schedule) { return options_of(schedule, options).contains(name); });
    if (!used) throw InputError(fmt::format("--{} is no option of {}", name, fmt::join(schedules, ", ")));
  }
}

Program generate_from_flags(const std::string& schedule, const ScheduleFlags& flags) {
  if (flags.ranks < 0) throw InputError("--ranks is missing: how many devices there are");
  if (flags.microbatches < 0) throw InputError("--microbatches is missing: how many of them one iteration has");
  ScheduleShape shape{flags.ranks, flags.microbatches, options_of(schedule, flags.options)};
  if (!flags.cost.empty()) {
    shape.costs = [list = parse_cost_list(flags.cost), &flags](const Program& placed) { return with_recompute(stage_costs(list, placed), placed, flags.recompute); };
  }
  if (flags.ranks > 0) shape.cluster = uniform_cluster(flags.ranks, link_of(flags));
  return with_recompute(generate(find_schedule(schedule), std::move(shape)), flags.recompute);
}

ScheduleConfig config_of(const std::string& schedule, const ScheduleFlags& flags) {
  ScheduleConfig config;
  config.name = schedule;
  config.options = options_of(schedule, flags.options);
  config.recompute = flags.recompute;
  config.label = config.default_label();
  return config;
}

void apply_channel(Program& program, const ScheduleFlags& flags) {
  if (flags.channel.empty()) return;
  const Channel channel = channel_mode(flags.channel);
  if (!is_local(program.profile)) program.channels = {channel};
}

Case make_case(const std::string& label, const std::string& schedule, Program compute_order, const ScheduleFlags& flags) {
  if (flags.cost.empty()) throw InputError("--cost is missing: how long ops take, such as --cost F=1,I=1,W=1");
  Case result;
  result.label = label;
  result.schedule = schedule;
  result.iterations = flags.iterations;
  result.costs = stage_costs(parse_cost_list(flags.cost), compute_order);
  result.cluster = uniform_cluster(compute_order.ranks(), link_of(flags));
  apply_channel(compute_order, flags);
  result.program = std::move(compute_order);
  result.lower = flags.lower;
  return result;
}

}  // namespace bubblescope
