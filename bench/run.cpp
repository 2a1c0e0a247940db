// `bubblescope run`: predicts from a fresh calibration, executes for real, prints both and the error.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/report.hpp"
#include "backend/null.hpp"
#include "bench/commands.hpp"
#include "bench/cpu_backend.hpp"
#include "bench/experiment_case.hpp"
#include "bench/interrupt.hpp"
#include "bench/measure.hpp"
#include "bench/progress.hpp"
#include "bench/run_folder.hpp"
#include "bench/schedule_flags.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

struct Options {
  std::string scenario;
  ScheduleFlags flags;
  std::string out;
  std::int64_t repeats = 0;
  std::uint64_t seed = 0;
  bool seed_given = false;
  bool train = false;
  bool resume = false;
  bool json = false;
};

std::vector<Experiment> experiments_of(const Scenario& scenario, const ScheduleFlags& flags) {
  std::vector<Experiment> experiments;
  for (const ScheduleConfig& config : chosen_schedules(scenario, flags)) experiments.push_back(build_experiment(scenario, config));
  if (experiments.empty()) throw InputError(fmt::format("{}: no schedule is named; expected at least one [[schedule]], or --schedule", scenario.file.string()));
  return experiments;
}

/// Running what does not fit would end in the middle; predicting it says so beforehand.
void refuse_excess_memory(const Scenario& scenario, const std::vector<Experiment>& experiments) {
  for (const Experiment& experiment : experiments) {
    const Prediction prediction = predict_case(make_case(experiment, scenario, {}));
    if (prediction.deadlock) throw RunError(fmt::format("{} deadlocks: {}", experiment.config.label, fmt::join(prediction.deadlock->cycle, " waits for ")));
    const auto notes = memory_notes(scenario, {prediction});
    if (!notes.empty()) throw RunError(notes.front() + "; it is not run");
  }
}

MakeBackend backend_of(const Scenario& scenario) {
  if (scenario.backend.name == "null") {
    return [](const Experiment& experiment) { return std::make_unique<NullBackend>(experiment.costs); };
  }
  return cpu_backend(scenario);
}

nlohmann::json run_json(const Measured& measured) {
  Prediction prediction;
  prediction.label = measured.experiment.config.label;
  prediction.schedule = measured.experiment.config.name;
  prediction.ranks = measured.experiment.program.ranks();
  prediction.microbatches = measured.experiment.program.microbatches;
  prediction.chunks = measured.experiment.program.chunks;
  prediction.iterations = measured.predicted.timeline.iterations;
  prediction.summary = measured.predicted;
  nlohmann::json result = result_json(prediction);
  nlohmann::json observed = summary_json(measured.measured);
  observed["loss"] = std::isfinite(measured.loss) ? nlohmann::json(measured.loss) : nlohmann::json(nullptr);
  observed["spread"] = {{"iteration_ns", {measured.iteration.first, measured.iteration.median, measured.iteration.third}}, {"idle_fraction", {measured.idle_low, measured.idle_high}}, {"rounds", measured.iteration.count}};
  observed["iteration_ns"] = measured.iteration.median;
  result["iteration_ns"] = measured.predicted_iteration();
  result["measured"] = observed;
  result["error"] = {{"period", measured.period_error()}, {"idle_points", measured.idle_points()}};
  return result;
}

int train(const Scenario& scenario, const std::vector<Experiment>& experiments, const Options& options, const Interrupt& interrupt) {
  if (scenario.backend.name == "null") throw InputError("the null backend does not train; use 'backend.name = \"cpu\"'");
  const std::filesystem::path folder = options.out.empty() ? scenario.output.folder : std::filesystem::path(options.out);
  for (const Experiment& experiment : experiments) {
    const int code = train_on_cpu(scenario, experiment, {folder / (file_stem(experiment.config.label) + ".checkpoint"), options.resume, interrupt.flag()});
    if (code != 0) return code;
  }
  return 0;
}

int run(const Options& options, const CommandLine& line) {
  Scenario scenario = read_scenario(options.scenario, options.flags.overrides);
  if (options.repeats > 0) scenario.run.repeats = options.repeats;
  if (options.seed_given) scenario.seed = options.seed;
  if (scenario.backend.name == "cpu") need_torch(line.arguments);
  const std::vector<Experiment> experiments = experiments_of(scenario, options.flags);
  refuse_excess_memory(scenario, experiments);
  const Interrupt interrupt;
  if (options.train) return train(scenario, experiments, options, interrupt);

  Progress progress("running", static_cast<std::int64_t>(experiments.size()) * 2 * scenario.run.repeats);
  MeasureOptions measure;
  measure.stop = interrupt.flag();
  measure.progress = [&](const std::string& what) { progress.label(what); };
  measure.piece_done = [&] { progress.advance(); };
  const MeasuredRun result = measure_experiments(scenario, experiments, backend_of(scenario), measure);
  progress.done();

  std::string command = "bubblescope";
  for (const std::string& argument : line.arguments) command += ' ' + argument;
  ReportModel model = report_model(scenario, result, command);
  std::vector<std::filesystem::path> written;
  if (!options.out.empty()) write_run_folder(options.out, model, result.profile);
  complete(model);
  if (!options.out.empty()) written = write_report(model, options.out, "report", scenario.output.formats);

  if (options.json) {
    nlohmann::json results = nlohmann::json::array();
    for (const Measured& measured : result.schedules) results.push_back(run_json(measured));
    fmt::print("{}\n", nlohmann::json{{"schema_version", 1}, {"results", results}, {"rounds", result.rounds}, {"stopped", result.stopped}}.dump(2));
  } else {
    fmt::print("{}\n", to_text(summary_table(model)));
    for (const ScheduleReport& schedule : model.schedules) fmt::print("Idle time of {}\n{}\n", schedule.label, to_text(idle_table(schedule)));
    for (const auto& file : written) fmt::print("{}\n", file.string());
  }
  if (result.stopped) {
    fmt::print(stderr, "bubblescope: interrupted after {} of {} rounds; what was measured is kept\n", result.rounds, scenario.run.repeats);
    return 1;
  }
  return 0;
}

struct CalibrateFlags {
  std::string scenario;
  ScheduleFlags flags;
  std::string output;
  std::int64_t repeats = 0;
  bool json = false;
};

int calibrate_scenario(const CalibrateFlags& options, const CommandLine& line) {
  Scenario scenario = read_scenario(options.scenario, options.flags.overrides);
  if (options.repeats > 0) scenario.run.repeats = options.repeats;
  if (scenario.backend.name == "cpu") need_torch(line.arguments);
  const std::vector<Experiment> experiments = experiments_of(scenario, options.flags);
  const Interrupt interrupt;
  Progress progress("calibrating", static_cast<std::int64_t>(experiments.size()) * scenario.run.repeats);
  MeasureOptions measure;
  measure.stop = interrupt.flag();
  measure.progress = [&](const std::string& what) { progress.label(what); };
  measure.piece_done = [&] { progress.advance(); };
  const MeasuredRun result = calibrate_experiments(scenario, experiments, backend_of(scenario), measure);
  progress.done();
  if (!options.output.empty()) write_profile(result.profile, options.output);
  if (options.json) {
    fmt::print("{}", profile_to_json(result.profile));
  } else {
    for (const Measurement& measurement : result.profile.measurements) {
      Table table{{{"stage", Align::right}, {"op", Align::left}, {"alone", Align::right}, {"± spread", Align::right}, {"busy", Align::right}, {"± spread", Align::right}, {"busy/alone", Align::right}, {"samples", Align::right}}, {}};
      for (const MeasuredOp& op : measurement.ops) {
        table.rows.push_back({std::to_string(op.stage), std::string(mnemonic(op.kind)), format_duration(op.alone.median), format_duration(op.alone.spread()),
                              op.busy.count ? format_duration(op.busy.median) : "-", op.busy.count ? format_duration(op.busy.spread()) : "-",
                              op.busy.count ? fmt::format("{:.2f}", op.busy_factor()) : "-", std::to_string(op.alone.count)});
      }
      fmt::print("{} ({} samples per microbatch)\n{}\n", measurement.schedule, measurement.samples, to_text(table));
    }
    fmt::print("hand-over between ranks {}, barrier {}\n", format_duration(result.profile.link_latency), format_duration(result.profile.sync));
    if (!options.output.empty()) fmt::print("{}\n", options.output);
  }
  if (result.stopped) fmt::print(stderr, "bubblescope: interrupted after {} of {} rounds; what was measured is kept\n", result.rounds, scenario.run.repeats);
  return result.stopped ? 1 : 0;
}

}  // namespace

void add_run(CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(line, "run", "Predicts a scenario's schedules from a fresh calibration, executes them for real, and compares",
                                  "bubblescope run scenarios/demo.toml --out out/demo\n"
                                  "  bubblescope run scenarios/demo.toml --schedule ppll --queue 1 --json\n"
                                  "  bubblescope run scenarios/demo.toml --schedule ppll --train --out out/training");
  command->add_option("scenario", options->scenario, "A scenario file")->required()->type_name("SCENARIO.toml");
  command->add_option("--schedule", options->flags.schedule, "Only these schedules, separated by commas");
  add_set_flag(*command, options->flags);
  command->add_option("--out", options->out, "Folder for timelines, calibration and report")->type_name("DIR");
  command->add_option("--repeats", options->repeats, "Rounds of calibration and run; default: the scenario's")->check(CLI::Range(1, 1000));
  command->add_option_function<std::uint64_t>("--seed", [options](const std::uint64_t& seed) { options->seed = seed, options->seed_given = true; }, "Instead of the scenario's");
  command->add_flag("--train", options->train, "Train for the scenario's epochs, with evaluation and checkpoints, instead of measuring");
  command->add_flag("--resume", options->resume, "With --train: go on from the checkpoint in the folder");
  add_option_flags(*command, options->flags);
  command->add_flag("--json", options->json, "As JSON");
  command->callback([options, &line] { line.chosen = [options, &line] { return run(*options, line); }; });
}

void add_calibrate(CommandLine& line) {
  auto options = std::make_shared<CalibrateFlags>();
  CLI::App* command = add_command(line, "calibrate", "Measures every op of a scenario on this machine, alone and with the other ranks busy",
                                  "bubblescope calibrate scenarios/demo.toml -o profile.json");
  command->add_option("scenario", options->scenario, "A scenario file")->required()->type_name("SCENARIO.toml");
  command->add_option("--schedule", options->flags.schedule, "Only these schedules, separated by commas");
  add_set_flag(*command, options->flags);
  command->add_option("--repeats", options->repeats, "Rounds; default: the scenario's")->check(CLI::Range(1, 1000));
  command->add_option("-o,--output", options->output, "Profile to write")->type_name("FILE");
  add_option_flags(*command, options->flags);
  command->add_flag("--json", options->json, "The profile on standard output");
  command->callback([options, &line] { line.chosen = [options, &line] { return calibrate_scenario(*options, line); }; });
}

}  // namespace bubblescope
