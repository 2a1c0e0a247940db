// `bubblescope calibrate`: how long every op takes on this machine, kept as a profile.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "analysis/report.hpp"
#include "analysis/table.hpp"
#include "bench/commands.hpp"
#include "bench/torch_backend.hpp"
#include "bench/interrupt.hpp"
#include "bench/job.hpp"
#include "bench/progress.hpp"
#include "bench/real_run.hpp"
#include "sim/core/error.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {
namespace {

struct Options {
  std::string scenario;
  ScheduleFlags flags;
  std::string output;
  std::int64_t repeats = 0;
  bool json = false;
};

void print_messages(const MessageTimes& messages) {
  Table table{{{"message", Align::right}, {"time", Align::right}, {"± spread", Align::right}, {"samples", Align::right}, {"both ways", Align::right}, {"± spread", Align::right}}, {}};
  for (std::size_t i = 0; i < messages.one_way.size(); ++i) {
    const MeasuredTransfer& transfer = messages.one_way[i];
    table.rows.push_back({bytes_text(transfer.bytes), format_duration(transfer.time.median), format_duration(transfer.time.spread()), std::to_string(transfer.time.count), "", ""});
    if (i >= messages.both_ways.size()) continue;
    table.rows.back()[4] = format_duration(messages.both_ways[i].time.median);
    table.rows.back()[5] = format_duration(messages.both_ways[i].time.spread());
  }
  if (!table.rows.empty()) fmt::print("{}\n", to_text(without_empty_columns(table)));
}

void print_channel(const CostProfile& profile) {
  if (profile.processes > 1) fmt::print("Between {} processes over {}{}\n", profile.processes, profile.channel, profile.hosts.empty() ? "" : ", on different hosts");
  print_messages(profile.messages);
  if (!profile.beside.one_way.empty()) fmt::print("Between two processes of one host\n");
  print_messages(profile.beside);
  fmt::print("hand-over between ranks {}, barrier {}\n", format_duration(profile.link_latency), format_duration(profile.sync));
  if (!profile.messages.both_ways.empty() && profile.inside_latency > 0) fmt::print("hand-over between ranks of one process {}\n", format_duration(profile.inside_latency));
}

int calibrate_in(Job& job, const Options& options, const Scenario& scenario, const std::vector<Experiment>& experiments);

int calibrate_scenario(const Options& options, const CommandLine& line) {
  Scenario scenario = read_scenario(options.scenario, options.flags.overrides);
  if (options.repeats > 0) scenario.run.repeats = options.repeats;
  need_backend(scenario.backend.name, line.arguments);
  const Chosen chosen = chosen_experiments(scenario, options.flags);
  const MemoryNeeds needs = refuse_hopeless(scenario, chosen.experiments);
  Job job(scenario, line.arguments);
  if (job.speaks()) tell_skipped(chosen);
  return in_job(job.world(), [&] {
    refuse_too_large(scenario, needs, false, job.world());
    return calibrate_in(job, options, scenario, chosen.experiments);
  });
}

int calibrate_in(Job& job, const Options& options, const Scenario& scenario, const std::vector<Experiment>& experiments) {
  if (!options.output.empty() && job.speaks()) require_writable_file(options.output);
  const Interrupt interrupt;
  Progress progress("calibrating", static_cast<std::int64_t>(experiments.size()) * scenario.run.repeats);
  MeasureOptions measure;
  measure.stop = interrupt.flag();
  measure.world = job.world();
  if (job.speaks()) {  // all may have the same terminal
    measure.progress = [&](const std::string& what) { progress.label(what); };
    measure.piece_done = [&] { progress.advance(); };
  }
  const MeasuredRun result = calibrate_experiments(scenario, experiments, backend_of(scenario), measure);
  progress.done();
  if (!job.speaks()) {
    if (!result.lost.empty()) throw LostError(result.lost);
    return 0;
  }
  if (const std::string why = nothing_measured(result); !why.empty()) throw RunError(why + ": there is nothing to keep");
  if (options.json) {
    fmt::print("{}", profile_to_json(result.profile));
  } else {
    for (const Measurement& measurement : result.profile.measurements) {
      Table table{{{"stage", Align::right}, {"op", Align::left}, {"alone", Align::right}, {"± spread", Align::right}, {"mean", Align::right}, {"busy", Align::right}, {"± spread", Align::right}, {"mean", Align::right}, {"busy/alone", Align::right}, {"samples", Align::right}, {"host", Align::right}}, {}};
      for (const MeasuredOp& op : measurement.ops) {
        table.rows.push_back({std::to_string(op.stage), std::string(mnemonic(op.kind)), format_duration(op.alone.median), format_duration(op.alone.spread()), format_duration(op.alone.expected()),
                              op.busy.count ? format_duration(op.busy.median) : "-", op.busy.count ? format_duration(op.busy.spread()) : "-", op.busy.count ? format_duration(op.busy.expected()) : "-",
                              op.busy.count ? fmt::format("{:.2f}", op.busy_factor()) : "-", std::to_string(op.alone.count), op.host.count ? format_duration(op.host.median) : ""});
      }
      fmt::print("{} ({} samples per microbatch)\n{}\n", measurement.schedule, measurement.samples, to_text(without_empty_columns(table)));
    }
    if (!result.profile.placement.empty()) fmt::print("{}\n", result.profile.placement);
    print_channel(result.profile);
  }
  // Last: a full disk must not take what was measured with it.
  if (!options.output.empty()) {
    write_profile(result.profile, options.output);
    if (!options.json) fmt::print("{}\n", options.output);
  }
  return tell_early_end(result, scenario);
}

}  // namespace

void add_calibrate(CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(line, "calibrate", "Measures every op of a scenario on this machine, alone and with the other ranks busy",
                                  "bubblescope calibrate scenarios/demo.toml -o profile.json");
  command->add_option("scenario", options->scenario, "A scenario file")->required()->type_name("SCENARIO.toml");
  command->add_option("--schedule", options->flags.schedule, "Only these schedules, separated by commas");
  command->add_option("--repeats", options->repeats, "Rounds; default: the scenario's")->check(CLI::Range(1, 1000));
  command->add_option("-o,--output", options->output, "Profile to write")->type_name("FILE");
  add_set_flag(*command, options->flags);
  add_option_flags(*command, options->flags);
  command->add_flag("--json", options->json, "The profile on standard output");
  command->callback([options, &line] { line.chosen = [options, &line] { return calibrate_scenario(*options, line); }; });
}

}  // namespace bubblescope
