// `bubblescope sweep`: a grid of configurations of one scenario, every point predicted as `predict` would.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>
#include <utility>

#include "backend/cores.hpp"
#include "bench/commands.hpp"
#include "bench/experiment_case.hpp"
#include "bench/interrupt.hpp"
#include "bench/job.hpp"
#include "bench/progress.hpp"
#include "bench/schedule_flags.hpp"
#include "bench/spread_processes.hpp"
#include "bench/sweep_rows.hpp"
#include "sim/core/error.hpp"
#include "sim/core/read_file.hpp"
#include "sim/core/write_file.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/scenario/sweep_point.hpp"

namespace bubblescope {
namespace {

struct Options {
  std::string scenario;
  std::vector<std::string> over;
  ScheduleFlags flags;
  std::string sort;
  std::filesystem::path out;
  int threads = 0;  ///< 0: as many as there are cores
  bool json = false;
};

/// An error of a point without the place and the schedule, which the row tells anyway.
std::string reason_of(const InputError& error, const std::string& file, const std::string& label) {
  std::string_view text = error.what();
  for (const std::string& prefix : {file + ": ", fmt::format("schedule '{}': ", label)}) {
    if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
  }
  return std::string(text);
}

/// The first ops of the circle, and where there is none; `predict` tells all of it.
std::string deadlock_reason(const Prediction& prediction) {
  constexpr std::size_t kMost = 3;
  const auto& found = prediction.deadlock->cycle.empty() ? prediction.mismatches : prediction.deadlock->cycle;
  const std::vector<std::string> first(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(std::min(kMost, found.size())));
  std::string text = fmt::format("{}", fmt::join(first, prediction.deadlock->cycle.empty() ? "; " : " waits for "));
  if (found.size() > kMost) text += fmt::format(", and {} more", found.size() - kMost);
  if (prediction.safe_channels && !prediction.safe_channels->empty()) text += fmt::format("; no deadlock with cluster.channel {}", fmt::join(*prediction.safe_channels, " or "));
  return text;
}

SweepRow predict_row(const Scenario& scenario, const ScheduleConfig& config, std::int64_t point) {
  SweepRow row;
  row.point = point;
  row.schedule = config.name;
  row.label = config.label;
  row.ranks = scenario.cluster.ranks;
  try {
    const Experiment experiment = build_experiment(scenario, config);
    std::vector<Prediction> predictions{predict_case(make_case(experiment, scenario, {}))};
    const Prediction& prediction = predictions.front();
    row.microbatches = prediction.microbatches;
    row.chunks = prediction.chunks;
    row.samples = experiment.iteration_samples;
    if (prediction.deadlock) {
      row.status = RowStatus::deadlock;
      row.reason = deadlock_reason(prediction);
    } else if (prediction.summary) {
      row.numbers = row_numbers(*prediction.summary, updates_every_microbatch(experiment.program) ? experiment.samples : experiment.iteration_samples);
      row.reason = fmt::format("{}", fmt::join(memory_notes(scenario, predictions), "; "));
      if (!row.reason.empty()) row.status = RowStatus::memory;
    }
  } catch (const InputError& error) {
    row.status = RowStatus::skipped;
    row.reason = reason_of(error, scenario.file.string(), config.label);
  }
  return row;
}

/// All schedules of a point; one row where there is no such scenario.
std::vector<SweepRow> predict_point(const ScenarioDraft& base, const std::vector<SweepAxis>& axes, std::int64_t point) {
  std::vector<SweepRow> rows;
  try {
    const Scenario scenario = point_scenario(base, axes, point);
    for (const ScheduleConfig& config : scenario.schedules) rows.push_back(predict_row(scenario, config, point));
  } catch (const InputError& error) {
    SweepRow row;
    row.point = point;
    const auto values = point_values(axes, point);
    for (std::size_t i = 0; i < axes.size(); ++i) {
      if (axes[i].what == SweepAxis::What::schedule) row.schedule = row.label = values[i];
    }
    row.status = RowStatus::skipped;
    row.reason = reason_of(error, base.scenario.file.string(), row.label);
    rows = {row};
  }
  return rows;
}

void require_known_form(const std::filesystem::path& out) {
  if (out.empty()) return;
  if (out.extension() != ".csv" && out.extension() != ".json") throw InputError(fmt::format("--out {}: unknown form; expected a file that ends in .csv or .json", out.string()));
  require_writable_file(out);
}

/// Beside the whole one, which a part must not replace: a CSV does not say how many points there were to be.
std::filesystem::path unfinished(const std::filesystem::path& out) { return out.parent_path() / ("unfinished." + out.filename().string()); }

/// allocation.cpp has all threads share one arena: here none waits for another's allocations. To be said before there are
/// other threads, those of a Job included, since the first one that allocates settles it (glibc).
void give_arenas(int threads) { mallopt(M_ARENA_MAX, threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()))); }

int sweep(Job& job, const Options& options, const std::string& text) {
  const Spread spread = job.world() == nullptr ? Spread(spread_over_threads) : spread_over_processes(*job.world());
  ScenarioDraft base = draft_scenario(text, options.scenario);
  apply_overrides(base, options.flags.overrides);
  const std::vector<SweepAxis> axes = parse_axes(options.over);
  check_axes(axes, base);
  job.require_same_profiles(named_profiles(base, axes));
  if (job.speaks()) require_known_form(options.out);
  const int threads = options.threads > 0 ? options.threads : std::max(1, available_cores() / job.on_this_host());
  SweepResult result{options.scenario, axes, point_count(axes), 0, {}};
  const Interrupt interrupt;
  Progress progress("predicting", result.points);
  std::int64_t untold = 0;
  auto told = std::chrono::steady_clock::now();
  const auto tell = [&] {  // points can take microseconds
    ++untold;
    if (const auto now = std::chrono::steady_clock::now(); now - told >= std::chrono::milliseconds(50)) {
      progress.advance(std::exchange(untold, 0));
      told = now;
    }
  };
  std::string lost;
  SpreadOptions how{.threads = threads, .stop = interrupt.flag(), .lost = [&](const std::string& why) { lost = why; }};
  if (job.speaks()) how.done = tell;
  std::vector<std::string> bytes = spread(result.points, [&](std::int64_t point) { return encode_rows(predict_point(base, axes, point)); }, how);
  progress.done();
  if (!job.speaks()) return 0;
  result.predicted = static_cast<std::int64_t>(bytes.size());
  for (std::string& one : bytes) {
    for (SweepRow& row : decode_rows(std::exchange(one, {}))) result.rows.push_back(std::move(row));
  }
  const bool interrupted = result.predicted < result.points;
  const auto skipped = [](const SweepRow& row) { return row.status == RowStatus::skipped; };
  if (!interrupted && std::all_of(result.rows.begin(), result.rows.end(), skipped)) {
    throw InputError(fmt::format("no point can be predicted; {}: {}", fmt::join(point_values(axes, 0), ", "), result.rows.front().reason));
  }
  sort_rows(result.rows, options.sort);

  const std::string json = options.json || options.out.extension() == ".json" ? sweep_json(result) : std::string();
  const std::filesystem::path out = interrupted && !options.out.empty() ? unfinished(options.out) : options.out;
  if (!out.empty()) write_file(out, out.extension() == ".json" ? json : sweep_csv(result));
  fmt::print("{}", options.json ? json : to_text(without_empty_columns(sweep_table(result))));
  if (!lost.empty()) tell_lost(lost);
  if (interrupted) fmt::print(stderr, "bubblescope: interrupted: {} of {} points are predicted{}\n", result.predicted, result.points, out.empty() ? "" : fmt::format(", in {}", out.string()));
  const bool any = std::any_of(result.rows.begin(), result.rows.end(), [](const SweepRow& row) { return row.numbers.has_value(); });
  return interrupted || !lost.empty() || !any ? 1 : 0;
}

}  // namespace

void add_sweep(CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(line, "sweep", "Predicts a grid of configurations of a scenario on all cores",
                                  "bubblescope sweep scenarios/demo.toml --over ranks=2:4:8,microbatches=4..64,schedule=all\n"
                                  "  bubblescope sweep scenarios/demo.toml --over queue=0..4+1,latency=10us:1ms,schedule=ppll --sort throughput --out sweep.csv");
  command->add_option("scenario", options->scenario, "A scenario file")->required()->type_name("SCENARIO.toml");
  // Not bound to the vector: then CLI11 would take brackets apart.
  command
      ->add_option_function<std::string>("--over", [options](const std::string& text) { options->over.push_back(text); },
                                         "Axes of the grid, separated by commas, the last one the fastest: KEY=2:4:8 (values), 4..64 (doubling), 4..16+4 (in steps); KEY is 'schedule' "
                                         "(names or 'all'), 'microbatches', a schedule's option, or a key of scenarios: ranks, training.batch, schedule.NAME.KEY")
      ->required()
      ->trigger_on_parse()
      ->type_name("AXES");
  add_set_flag(*command, options->flags);
  command->add_option("--sort", options->sort, "Best first by this, instead of the order of the grid")->check(CLI::IsMember(sort_keys()));
  command->add_option("--threads", options->threads, "Threads; default: the cores that this process may use. Results do not depend on it")->type_name("N")->check(CLI::Range(1, 4096));
  command->add_option("--out", options->out, "Writes all rows to this file, too: .csv or .json")->type_name("FILE");
  command->add_flag("--json", options->json, "As JSON");
  command->callback([options, &line] {
    line.chosen = [options, &line] {
      give_arenas(options->threads);
      const std::string text = read_file(options->scenario, "a scenario file (TOML)");
      Job job(text, line.arguments);
      return in_job(job.world(), [&] { return sweep(job, *options, text); });
    };
  });
}

}  // namespace bubblescope
