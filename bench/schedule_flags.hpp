// Flags several subcommands share: which schedules, of what shape, with which options and costs.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "bench/summary.hpp"
#include "sim/scenario/scenario.hpp"

namespace bubblescope {

/// What the flags said. Empty or negative: not given.
struct ScheduleFlags {
  std::string schedule;   ///< names separated by commas, or `all`
  std::int32_t ranks = -1;
  std::int32_t microbatches = -1;
  std::map<std::string, std::string> options;  ///< schedules' own: --queue, --chunks, ...
  std::string recompute;  ///< stages that run their forwards again: `all`, `0:2`
  std::string cost;
  std::string latency;
  std::string channel;
  std::string lower;  ///< passes, separated by commas
  std::int32_t iterations = 1;
  std::vector<std::string> overrides;  ///< --set, in their order
};

void add_shape_flags(CLI::App& command, ScheduleFlags& flags);
/// --cost and --latency: what a searched schedule is searched for.
void add_search_flags(CLI::App& command, ScheduleFlags& flags);
/// Those, --channel and --iterations.
void add_cost_flags(CLI::App& command, ScheduleFlags& flags);
/// --channel, for commands that ask whether or how transfers wait; part of the cost flags.
void add_channel_flag(CLI::App& command, ScheduleFlags& flags);
/// --lower, for commands that write or predict lowered programs; part of the cost flags.
void add_lower_flag(CLI::App& command, ScheduleFlags& flags);
/// --set, for commands that take a scenario.
void add_set_flag(CLI::App& command, ScheduleFlags& flags);
/// One flag per option of any schedule in the registry, and --recompute.
void add_option_flags(CLI::App& command, ScheduleFlags& flags);

/// The names given with --schedule, `all` spelled out. Throws InputError on an unknown one.
std::vector<std::string> schedule_names(const std::string& text);
/// Those of `options` that the schedule has.
std::map<std::string, std::string> options_of(const std::string& schedule, const std::map<std::string, std::string>& options);
/// Throws InputError where an option belongs to none of the schedules.
void require_options_used(const std::vector<std::string>& schedules, const std::map<std::string, std::string>& options);

/// The schedule's Program as the flags shape it, compute order only.
Program generate_from_flags(const std::string& schedule, const ScheduleFlags& flags);

/// The schedule as a scenario would have it that says what the flags say, without microbatches.
ScheduleConfig config_of(const std::string& schedule, const ScheduleFlags& flags);

/// Puts --channel, if given, on a program whose gradients flow through stages; queues keep their own rules.
void apply_channel(Program& program, const ScheduleFlags& flags);

/// A program with its cost flags, ready to be predicted.
Case make_case(const std::string& label, const std::string& schedule, Program compute_order, const ScheduleFlags& flags);

}  // namespace bubblescope
