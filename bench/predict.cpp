// `bubblescope predict`: what schedules cost, from a scenario, from flags, or from a schedule file.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/report.hpp"
#include "bench/commands.hpp"
#include "bench/experiment_case.hpp"
#include "bench/progress.hpp"
#include "bench/schedule_flags.hpp"
#include "sim/core/error.hpp"
#include "sim/lower/read_program.hpp"
#include "sim/lower/recompute.hpp"
#include "sim/scenario/build.hpp"

namespace bubblescope {
namespace {

struct Options {
  std::string scenario;
  std::string program;
  ScheduleFlags flags;
  bool json = false;
};

/// What is to be predicted; a schedule of `all` that cannot have this shape is skipped with the reason.
struct Wanted {
  std::string label;
  std::string schedule;
  std::function<Case()> make;
};

std::vector<Wanted> wanted_of(const Options& options, const std::optional<Scenario>& scenario) {
  std::vector<Wanted> wanted;
  const ScheduleFlags& flags = options.flags;
  if (!options.program.empty()) {
    wanted.push_back({options.program, options.program, [&] { return make_case(options.program, options.program, with_recompute(read_program(options.program), flags.recompute), flags); }});
  } else if (!scenario) {
    const auto names = schedule_names(flags.schedule);
    require_options_used(names, flags.options);
    for (const std::string& name : names) {
      const std::string label = config_of(name, flags).label;
      wanted.push_back({label, name, [&flags, name, label] { return make_case(label, name, generate_from_flags(name, flags), flags); }});
    }
  } else {
    for (const ScheduleConfig& config : chosen_schedules(*scenario, flags)) {
      wanted.push_back({config.label, config.name, [&scenario, &flags, config] { return make_case(build_experiment(*scenario, config), *scenario, flags); }});
    }
  }
  return wanted;
}

void check_usage(const Options& options) {
  if (options.scenario.empty() && options.program.empty() && options.flags.schedule.empty()) {
    throw InputError("nothing to predict: expected a scenario file, --schedule NAME or --program FILE");
  }
  if (!options.scenario.empty() && !options.program.empty()) throw InputError("a scenario and --program exclude each other");
  if (!options.program.empty() && !options.flags.schedule.empty()) throw InputError("--program and --schedule exclude each other");
  if (options.scenario.empty() && !options.flags.overrides.empty()) throw InputError("--set changes a scenario, but none is given");
  if (!options.scenario.empty() && !options.flags.lower.empty()) throw InputError("--lower is for predictions without a scenario, whose sends and receives are placed as they are run");
  if (!options.scenario.empty() && (options.flags.ranks >= 0 || options.flags.microbatches >= 0 || !options.flags.cost.empty())) {
    throw InputError("--ranks, --microbatches and --cost are for predictions without a scenario; a scenario says them itself");
  }
}

/// The report's table of idle time, of the prediction alone.
Table idle_table(const Prediction& prediction) {
  ScheduleReport schedule;
  schedule.ranks = prediction.ranks;
  schedule.predicted.emplace();
  schedule.predicted->makespan = prediction.summary->bubbles.makespan;
  schedule.predicted->idle = prediction.summary->idle.ranks;
  return idle_table(schedule);
}

int predict(const Options& options) {
  check_usage(options);
  std::optional<Scenario> scenario;
  if (!options.scenario.empty()) scenario = read_scenario(options.scenario, options.flags.overrides);
  if (scenario && !options.flags.channel.empty()) {
    channel_mode(options.flags.channel);  // a mistake in the flag is no mistake of the file
    scenario->cluster.channel = options.flags.channel;
  }
  if (scenario && !options.flags.latency.empty()) scenario->cluster.link.latency = parse_duration(options.flags.latency);
  const std::vector<Wanted> wanted = wanted_of(options, scenario);
  const bool all = options.flags.schedule == "all";
  std::vector<Prediction> predictions;
  Progress progress("predicting", static_cast<std::int64_t>(wanted.size()));
  for (const Wanted& one : wanted) {
    try {
      predictions.push_back(predict_case(one.make()));
    } catch (const ShapeError& error) {
      if (!all) throw;
      Prediction skipped;
      skipped.label = one.label;
      skipped.schedule = one.schedule;
      skipped.ranks = scenario ? scenario->cluster.ranks : options.flags.ranks;
      skipped.microbatches = std::max(0, options.flags.microbatches);
      skipped.iterations = options.flags.iterations;
      skipped.skipped = error.what();
      predictions.push_back(std::move(skipped));
    }
    progress.advance();
  }
  progress.done();
  if (std::all_of(predictions.begin(), predictions.end(), [](const Prediction& prediction) { return prediction.skipped.has_value(); })) {
    throw InputError(fmt::format("no schedule can be predicted; {}: {}", predictions.front().label, *predictions.front().skipped));
  }

  const std::vector<std::string> notes = scenario ? memory_notes(*scenario, predictions) : std::vector<std::string>{};
  bool failed = false;
  for (const Prediction& prediction : predictions) failed = failed || prediction.deadlock;
  if (options.json) {
    nlohmann::json results = nlohmann::json::array();
    for (const Prediction& prediction : predictions) results.push_back(result_json(prediction));
    print_json({{"schema_version", 1}, {"results", results}, {"notes", notes}});
    return failed ? 1 : 0;
  }
  fmt::print("{}", to_text(prediction_table(predictions)));
  for (const std::string& note : notes) fmt::print("{}\n", note);
  for (const Prediction& prediction : predictions) {
    if (prediction.skipped) fmt::print("\n{}: skipped: {}\n", prediction.label, *prediction.skipped);
    if (prediction.deadlock) fmt::print("\n{}", deadlock_text(prediction));
    if (prediction.summary && predictions.size() == 1) fmt::print("\nIdle time by cause, share of the makespan\n{}", to_text(idle_table(prediction)));
  }
  return failed ? 1 : 0;
}

}  // namespace

void add_predict(CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(line, "predict", "Predicts time, idle time, memory and queue depth of schedules",
                                  "bubblescope predict --schedule ppll,1f1b --ranks 4 --microbatches 8 --cost F=1,I=1,W=1\n"
                                  "  bubblescope predict scenarios/demo.toml --schedule all\n"
                                  "  bubblescope predict scenarios/demo.toml --set training.batch=64 --set schedule.gpipe.microbatches=8\n"
                                  "  bubblescope predict --program schedule.csv --cost F=1,B=2 --channel rank");
  command->add_option("scenario", options->scenario, "A scenario file")->type_name("SCENARIO.toml");
  command->add_option("--program", options->program, "A schedule file (.csv of PyTorch, .psched)")->type_name("FILE");
  add_set_flag(*command, options->flags);
  add_shape_flags(*command, options->flags);
  add_cost_flags(*command, options->flags);
  add_option_flags(*command, options->flags);
  command->add_flag("--json", options->json, "As JSON");
  command->callback([options, &line] { line.chosen = [options] { return predict(*options); }; });
}

}  // namespace bubblescope
