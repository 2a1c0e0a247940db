// `bubblescope run`: predicts from a fresh calibration, executes for real, prints both and the error.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/report.hpp"
#include "bench/commands.hpp"
#include "bench/torch_backend.hpp"
#include "bench/interrupt.hpp"
#include "bench/job.hpp"
#include "bench/progress.hpp"
#include "bench/real_run.hpp"
#include "bench/run_folder.hpp"
#include "bench/train.hpp"
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
  bool kernels = false;
  bool json = false;
};

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
  const Fractions idle = fraction_quartiles(measured.idle_repeats);
  observed["spread"] = {{"iteration_ns", {measured.iteration.first, measured.iteration.median, measured.iteration.third}}, {"idle_fraction", {idle.first, idle.median, idle.third}}, {"rounds", measured.iteration.count}};
  observed["iteration_ns"] = measured.iteration.median;
  result["iteration_ns"] = measured.predicted_iteration();
  result["measured"] = observed;
  result["error"] = {{"period", measured.period_error()}, {"idle_points", measured.idle_points()}};
  return result;
}

nlohmann::json failures_json(const MeasuredRun& run) {
  nlohmann::json failures = nlohmann::json::array();
  for (const FailedSchedule& failed : run.failures) failures.push_back({{"schedule", failed.config.label}, {"failure", failed.failure}, {"rounds", failed.rounds}});
  return failures;
}

void print_results(const MeasuredRun& run) {
  nlohmann::json results = nlohmann::json::array();
  for (const Measured& measured : run.schedules) results.push_back(run_json(measured));
  print_json({{"schema_version", 1}, {"results", results}, {"rounds", run.rounds}, {"stopped", run.stopped}, {"failures", failures_json(run)}});
}

/// Nothing was executed to its end: calibrations may be there, which are worth keeping, but not in place of
/// an earlier run.
[[noreturn]] void give_up(const MeasuredRun& run, const Options& options) {
  std::string why = nothing_measured(run);
  if (!options.out.empty() && !run.profile.measurements.empty()) {
    const std::filesystem::path folder = options.out;
    const auto file = folder / (std::filesystem::exists(folder / "run.json") ? "unfinished.profile.json" : "profile.json");
    write_profile(run.profile, file);
    why += fmt::format("; the calibrations until then are in {}", file.string());
  }
  if (options.json) print_results(run);
  throw RunError(why);
}

int run_in(Job& job, const Options& options, const CommandLine& line, const Scenario& scenario, const std::vector<Experiment>& experiments);

int run(const Options& options, const CommandLine& line) {
  std::vector<std::string> overrides = options.flags.overrides;
  if (options.kernels) overrides.push_back("run.kernels=true");
  Scenario scenario = read_scenario(options.scenario, overrides);
  if (options.repeats > 0) scenario.run.repeats = options.repeats;
  if (options.seed_given) scenario.seed = options.seed;
  need_backend(scenario.backend.name, line.arguments);
  const Chosen chosen = chosen_experiments(scenario, options.flags);
  const MemoryNeeds needs = refuse_hopeless(scenario, chosen.experiments);
  Job job(scenario, line.arguments);
  if (job.speaks()) tell_skipped(chosen);
  return in_job(job.world(), [&] {
    refuse_too_large(scenario, needs, !options.train, job.world());
    return run_in(job, options, line, scenario, chosen.experiments);
  });
}

int run_in(Job& job, const Options& options, const CommandLine& line, const Scenario& scenario, const std::vector<Experiment>& experiments) {
  const Interrupt interrupt;
  if (options.train) {
    return train(scenario, experiments, {options.out.empty() ? scenario.output.folder : std::filesystem::path(options.out), options.resume, options.json, interrupt.flag(), job.world()});
  }
  if (!options.out.empty() && job.speaks()) prepare_run_folder(options.out);

  const std::string command = job.command(line.arguments);
  Progress progress("running", static_cast<std::int64_t>(experiments.size()) * (2 * scenario.run.repeats + (scenario.run.kernels ? 1 : 0)));
  MeasureOptions measure;
  measure.stop = interrupt.flag();
  measure.world = job.world();
  if (job.speaks()) {  // all may have the same terminal
    measure.progress = [&](const std::string& what) { progress.label(what); };
    measure.piece_done = [&] { progress.advance(); };
  }
  if (!options.out.empty()) {
    measure.keep = [&](const MeasuredRun& so_far) {
      try {
        write_run_folder(options.out, report_model(scenario, so_far, command), so_far.profile);
      } catch (const std::exception&) {  // the end says so if it still is so then
      }
    };
  }
  const MeasuredRun result = measure_experiments(scenario, experiments, backend_of(scenario), measure);
  progress.done();
  if (!job.speaks()) {
    if (!result.lost.empty()) throw LostError(result.lost);
    return 0;
  }
  if (result.schedules.empty()) give_up(result, options);

  ReportModel model = report_model(scenario, result, command);
  // A disk that is full by now must not take the results on the terminal with it.
  std::vector<std::filesystem::path> written;
  std::string unwritten;
  const auto keep = [&](const auto& write) {
    if (options.out.empty() || !unwritten.empty()) return;
    try {
      write();
    } catch (const std::exception& error) {
      unwritten = error.what();
    }
  };
  keep([&] { write_run_folder(options.out, model, result.profile); });
  complete(model);
  keep([&] { written = write_report(model, options.out, "report", scenario.output.formats); });

  if (options.json) {
    print_results(result);
  } else {
    if (!result.profile.placement.empty()) fmt::print("{}\n\n", result.profile.placement);
    fmt::print("{}\n{}\n", to_text(summary_table(model)), to_text(utilisation_table(model)));
    for (const ScheduleReport& schedule : model.schedules) {
      if (!schedule.failure.empty()) continue;
      fmt::print("Idle time of {}\n{}\n", schedule.label, to_text(idle_table(schedule)));
      if (const Table kernels = kernel_table(schedule); !kernels.rows.empty()) {
        fmt::print("Kernels, copies and gaps of ops of {}\n{}\n{}\n", schedule.label, to_text(kernels), to_text(longest_kernels_table(schedule)));
      }
    }
    for (const auto& file : written) fmt::print("{}\n", file.string());
  }
  const int code = tell_early_end(result, scenario);
  if (!unwritten.empty()) throw RunError(unwritten);
  return code;
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
  auto* const kernels = command->add_flag("--kernels", options->kernels, "On GPUs: one more run of every schedule, which records kernels and is not measured");
  command->add_flag("--train", options->train, "Train for the scenario's epochs, with evaluation and checkpoints, instead of measuring")->excludes(kernels);
  command->add_flag("--resume", options->resume, "With --train: go on from the checkpoints in the folder; schedules without one begin");
  add_option_flags(*command, options->flags);
  command->add_flag("--json", options->json, "As JSON");
  command->callback([options, &line] { line.chosen = [options, &line] { return run(*options, line); }; });
}

}  // namespace bubblescope
