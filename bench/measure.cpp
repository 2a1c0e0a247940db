// Rounds of calibration and execution, and what comes of them.
#include "bench/measure.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "backend/calibrate.hpp"
#include "backend/clock.hpp"
#include "backend/cores.hpp"
#include "backend/fields.hpp"
#include "backend/lifeline_meeting.hpp"
#include "bench/job.hpp"
#include "bench/machine.hpp"
#include "bench/pool.hpp"
#include "bench/steal.hpp"
#include "bench/version.hpp"
#include "sim/core/cut_iterations.hpp"
#include "sim/core/error.hpp"
#include "sim/core/quartiles.hpp"

namespace bubblescope {
namespace {

/// An op is calibrated at least this often in all rounds together.
constexpr std::int32_t kCalibrations = 6;

/// Keeping what there is so far takes at most one part in so many of the time.
constexpr Nanos kKeepShare = 20;

/// A round's iteration time and share of idle time.
struct RoundNumbers {
  Nanos measured = 0, predicted = 0;
  double measured_idle = 0, predicted_idle = 0;
};

/// One experiment's raw results, a value per round.
struct Rounds {
  std::vector<Calibration> calibrations;
  std::vector<Timeline> timelines;
  std::vector<RoundNumbers> numbers;  ///< of the first rounds, once they were asked for
  std::int32_t next_iteration = 0;
  double loss = 0;                                ///< newest of the last rank
  std::vector<std::shared_ptr<const void>> state; ///< rank -> snapshot, so that training goes on
  std::string failure;  ///< why there are no more
  std::optional<Timeline> kernels;
  std::string kernels_note;

  std::size_t complete(bool executed) const { return executed ? timelines.size() : calibrations.size(); }
};

/// Where there are several; else both are empty.
struct Hosts {
  std::vector<std::int32_t> of_process;  ///< numbers from 0
  std::vector<std::string> texts;
};

Hosts hosts_of(World* world) {
  if (world == nullptr) return {};
  const auto cores = available_core_list().size();
  Hosts hosts;
  std::map<std::string, std::int32_t> known;
  for (const std::string& text : world->gather_all(fmt::format("{} ({}, {} core{})", host_name(), cpu_model(), cores, cores == 1 ? "" : "s"))) {
    const auto [found, is_new] = known.try_emplace(text.substr(0, text.find(" (")), static_cast<std::int32_t>(known.size()));
    if (is_new) hosts.texts.push_back(text);
    hosts.of_process.push_back(found->second);
  }
  return known.size() > 1 ? hosts : Hosts{};
}

Measurement empty_measurement(const Experiment& experiment) { return {experiment.config.label, experiment.samples, experiment.program.stages(), {}}; }

class Session {
 public:
  Session(const Scenario& scenario, std::vector<Experiment> experiments, const MakeBackend& backend, const MeasureOptions& options)
      : scenario_(scenario), experiments_(std::move(experiments)), make_backend_(backend), options_(options), cores_(rank_cores(scenario, options.world)), rounds_(experiments_.size()) {
    cluster_ = build_cluster(scenario);
    for (std::size_t r = 0; r < cluster_.devices.size(); ++r) cluster_.devices[r].cores = shared_cores(r);
    imitated_ = scenario.backend.name == "null";
  }

  MeasuredRun run(bool execute_too) {
    MeasuredRun result;
    try {
      all_rounds(result, execute_too);
    } catch (const LostError& error) {  // what was measured is kept
      result.stopped = true;
      result.lost = error.what();
    }
    if (options_.world != nullptr && !options_.world->first()) return result;
    if (execute_too && scenario_.run.kernels) {
      for (std::size_t e = 0; e < experiments_.size(); ++e) record_kernels(e);
    }
    collect(result, execute_too);
    return result;
  }

 private:
  bool stopped() const {
    const bool here = options_.stop != nullptr && options_.stop->load();
    return options_.world == nullptr ? here : options_.world->any(here);
  }

  void all_rounds(MeasuredRun& result, bool execute_too) {
    for (; result.rounds < scenario_.run.repeats && !stopped(); ++result.rounds) {
      bool whole = true, alive = false;
      for (std::size_t e = 0; e < experiments_.size() && whole; ++e) {
        if (rounds_[e].failure.empty()) whole = measure_once(e, execute_too);
        alive = alive || rounds_[e].failure.empty();
      }
      if (!whole || !alive) break;
      if (result.rounds + 1 < scenario_.run.repeats || scenario_.run.kernels) keep(result.rounds + 1, execute_too);
    }
    result.stopped = result.rounds < scenario_.run.repeats && stopped();
  }

  /// A process that is killed takes only the rounds since then with it.
  void keep(std::int32_t rounds, bool executed) {
    const bool here = options_.keep && (options_.world == nullptr || options_.world->first());
    if (!here || steady_now() < keep_again_) return;
    const Nanos begin = steady_now();
    MeasuredRun so_far;
    so_far.rounds = rounds;
    so_far.stopped = true;
    collect(so_far, executed);
    options_.keep(so_far);
    keep_again_ = steady_now() + kKeepShare * (steady_now() - begin);
  }

  std::int32_t processes() const { return options_.world == nullptr ? 1 : options_.world->processes(); }

  void say(const std::string& what) {
    if (options_.progress) options_.progress(what);
  }
  void said() {
    if (options_.piece_done) options_.piece_done();
  }

  /// Whether it came to its end or failed for good; not: it was told to stop.
  bool measure_once(std::size_t e, bool execute_too) {
    try {
      // A calibration and the run it predicts have the same devices, so the same memory. Where tensors
      // lie makes some ops faster or slower for as long as the devices live, hence new ones each round.
      const auto backend = make_backend_(experiments_[e]);
      Ranks ranks(*backend, experiments_[e].program, cores_.pinned, options_.world);
      const BackendDescription description = backend->describe();
      device_ = description.device;
      placement_ = description.placement;
      software_ = description.versions;
      return calibrate_once(e, ranks) && (!execute_too || execute_once(e, ranks));
    } catch (const InputError&) {
      throw;
    } catch (const LostError&) {
      throw;
    } catch (const std::exception& error) {  // a loss that is no number, memory that ran out
      // What one process meets alone has left the others waiting.
      if (options_.world != nullptr && dynamic_cast<const CommonError*>(&error) == nullptr) throw;
      rounds_[e].failure = error.what();
      return true;
    }
  }

  bool calibrate_once(std::size_t e, Ranks& ranks) {
    const Experiment& experiment = experiments_[e];
    say("calibrating " + experiment.config.label);
    CalibrateOptions options;
    options.rounds = std::max(1, (kCalibrations + static_cast<std::int32_t>(scenario_.run.repeats) - 1) / static_cast<std::int32_t>(scenario_.run.repeats));
    options.noise = scenario_.run.noise;
    options.longest = scenario_.run.calibrate_for;
    options.cores = cores_.distinct;
    options.stop = options_.stop;
    std::optional<Calibration> calibration = undisturbed_([&] { return calibrate(experiment.program, ranks, options); });
    said();
    if (!calibration) return false;
    rounds_[e].calibrations.push_back(std::move(*calibration));
    return true;
  }

  bool execute_once(std::size_t e, Ranks& ranks) {
    Rounds& rounds = rounds_[e];
    say("running " + experiments_[e].config.label);
    std::optional<Execution> execution = undisturbed_([&] { return go_on(e, ranks, false); });
    said();
    if (!execution) return false;
    rounds.next_iteration = execution->next_iteration;
    rounds.timelines.push_back(std::move(execution->timeline));
    for (std::size_t p = 0; p < execution->clocks.size(); ++p) note_clock(p, execution->clocks[p]);
    keep_state(experiments_[e].program, ranks, rounds);
    return true;
  }

  /// Warm-up and measured iterations, of which the Timeline shows the latter, from the state that training has reached.
  Execution go_on(std::size_t e, Ranks& ranks, bool kernels) {
    const Rounds& rounds = rounds_[e];
    ExecuteOptions options;
    options.iterations = static_cast<std::int32_t>(scenario_.run.warmup + scenario_.run.iterations);
    options.first_iteration = rounds.next_iteration;
    options.cores = cores_.pinned;
    options.stop = options_.stop;
    options.kernels = kernels;
    if (imitated_) options.network = cluster_;
    ranks.each([&](Rank r, Device& device) {
      if (!rounds.state.empty() && rounds.state[static_cast<std::size_t>(r)]) device.restore(rounds.state[static_cast<std::size_t>(r)]);
    });
    Execution execution = execute(experiments_[e].program, ranks, options);
    if (!execution.stopped) execution.timeline = cut_iterations(execution.timeline, static_cast<std::int32_t>(scenario_.run.warmup));
    return execution;
  }

  /// On devices of its own, so that whatever they prepare (CUDA graphs) is prepared while kernels are recorded. Over processes
  /// there is no such thing.
  void record_kernels(std::size_t e) {
    Rounds& rounds = rounds_[e];
    if (rounds.timelines.empty() || !rounds.failure.empty()) return;
    const std::string& label = experiments_[e].config.label;
    rounds.kernels_note = fmt::format("{}: no kernels were recorded: interrupted", label);
    if (stopped()) return;
    say("recording kernels of " + label);
    try {
      const auto backend = make_backend_(experiments_[e]);
      Ranks ranks(*backend, experiments_[e].program, cores_.pinned);
      Execution execution = go_on(e, ranks, true);
      said();
      if (execution.stopped) return;
      rounds.kernels = std::move(execution.timeline);
      rounds.kernels->label = "kernels";
      rounds.kernels_note.clear();
      if (execution.kernels_lost > 0) rounds.kernels_note = fmt::format("{}: {} records of kernels were lost; gaps may be less than shown.", label, execution.kernels_lost);
      if (execution.kernels_shifted != 0) {
        rounds.kernels_note += fmt::format("{}{}: kernels were moved by up to {} to lie in their ops, as their clock and that of the ops' events differ.", rounds.kernels_note.empty() ? "" : " ", label,
                                           format_duration(std::abs(execution.kernels_shifted)));
      }
    } catch (const std::exception& error) {
      rounds.kernels_note = fmt::format("{}: no kernels were recorded: {}", label, error.what());
    }
  }

  /// What the ranks' devices have of a machine that they share. Of a GPU: one part each, or all the same one. Ops on
  /// one part take turns; on others they slow each other down as calibration has found.
  std::vector<std::int32_t> shared_cores(std::size_t rank) const {
    if (scenario_.backend.name != "cuda") return rank < cores_.distinct.size() ? std::vector<std::int32_t>(cores_.distinct[rank].begin(), cores_.distinct[rank].end()) : std::vector<std::int32_t>{};
    if (scenario_.backend.devices == "partitions") return {static_cast<std::int32_t>(rank)};
    return scenario_.backend.devices == "streams" ? std::vector<std::int32_t>{0} : std::vector<std::int32_t>{};
  }

  /// The largest error and drift of all runs: what the timelines are exact to.
  void note_clock(std::size_t process, const ClockFit& clock) {
    clocks_.resize(std::max(clocks_.size(), process + 1));
    clocks_[process].error = std::max(clocks_[process].error, clock.error);
    if (std::abs(clock.drift) > std::abs(clocks_[process].drift)) clocks_[process].drift = clock.drift;
    clocks_[process].offset = clock.offset;
  }

  std::vector<std::string> notes() const {
    std::vector<std::string> notes = undisturbed_.notes();
    if (options_.world == nullptr) return notes;
    const std::int32_t each = scenario_.cluster.ranks / options_.world->processes();
    notes.push_back(fmt::format("{} processes over {}, {} rank{} each{}.", options_.world->processes(), options_.world->transport_name(), each, each == 1 ? "" : "s",
                                hosts_.texts.empty() ? "" : fmt::format(", on {} hosts: {}", hosts_.texts.size(), fmt::join(hosts_.texts, ", "))));
    for (std::size_t p = 1; p < clocks_.size(); ++p) {
      notes.push_back(fmt::format("Clocks were compared before, during and after every run: process {}'s, {} {} process 0's, drifted by at most {:.2f} us/s and is known within {}.", p,
                                  format_duration(std::abs(static_cast<Nanos>(clocks_[p].offset))), clocks_[p].offset < 0 ? "ahead of" : "behind", 1e6 * std::abs(clocks_[p].drift),
                                  format_duration(clocks_[p].error)));
    }
    return notes;
  }

  static void keep_state(const Program& program, Ranks& ranks, Rounds& rounds) {
    const Rank last = program.stage_rank[static_cast<std::size_t>(program.chains.front().back())];
    rounds.state.resize(static_cast<std::size_t>(ranks.count()));
    ranks.each([&](Rank r, Device& device) {
      rounds.state[static_cast<std::size_t>(r)] = device.snapshot();
      if (r == last) rounds.loss = device.last_loss();
    });
    if (World* const world = ranks.world()) {
      const std::vector<std::string> losses = world->gather_all(FieldsOut().add(rounds.loss).take());
      rounds.loss = FieldsIn(losses[static_cast<std::size_t>(last / ranks.own().count())]).get<double>();
    }
  }

  Summary predict(const Experiment& experiment, const Measurement& measurement, const Network& network) const {
    const StageCosts costs = with_bytes_of(stage_costs(measurement), experiment.costs);
    Cluster cluster = cluster_;
    if (!imitated_) join_ranks(cluster, {processes(), {network.handover, network.bandwidth}, fit_link(network.beside.one_way), network.inside, hosts_.of_process});
    cluster.sync = network.sync;
    const auto iterations = static_cast<std::int32_t>(scenario_.run.warmup + scenario_.run.iterations);
    const Simulation run = simulate(repeat_iterations(experiment.program, iterations), costs, cluster);
    const auto period = steady_period(experiment.program, costs, cluster);
    return summarize(experiment.program, costs, cut_iterations(run.timeline, static_cast<std::int32_t>(scenario_.run.warmup)), period.value_or(0));
  }

  /// Of an interrupted round, schedules that were through with it keep it, too, and a schedule that was
  /// never executed its calibration.
  void collect(MeasuredRun& result, bool executed) {
    result.notes = notes();
    std::vector<Network> networks;
    for (std::size_t e = 0; e < experiments_.size(); ++e) {
      const std::size_t complete = rounds_[e].complete(executed);
      if (!rounds_[e].failure.empty()) {
        const Program& program = experiments_[e].program;
        result.failures.push_back({experiments_[e].config, program.ranks(), program.microbatches, rounds_[e].failure, static_cast<std::int32_t>(complete)});
      }
      if (rounds_[e].calibrations.empty()) continue;
      const std::span<const Calibration> calibrations(rounds_[e].calibrations.data(), complete > 0 ? complete : rounds_[e].calibrations.size());
      Measured measured;
      measured.calibration = pool_ops(empty_measurement(experiments_[e]), calibrations);
      networks.push_back(pool_network(calibrations));
      if (complete == 0) {
        result.profile.measurements.push_back(std::move(measured.calibration));
        continue;
      }
      if (executed) collect_runs(e, complete, networks.back(), measured);
      measured.experiment = experiments_[e];
      result.profile.measurements.push_back(measured.calibration);
      result.schedules.push_back(std::move(measured));
    }
    CostProfile& profile = result.profile;
    profile.scenario = scenario_.name;
    profile.date = timestamp();
    profile.cpu = cpu_model();
    profile.cores = static_cast<std::int32_t>(available_core_list().size());
    profile.versions = versions();
    profile.versions.insert(software_.begin(), software_.end());
    profile.device = device_;
    profile.placement = placement_;
    const Network network = pool_networks(networks);
    profile.processes = processes();
    profile.channel = options_.world == nullptr ? "" : options_.world->transport_name();
    profile.inside_latency = processes() > 1 ? network.inside : 0;
    profile.link_latency = network.handover;
    profile.link_bandwidth = network.bandwidth;
    profile.messages = network.messages;
    profile.hosts = hosts_.of_process;
    profile.beside = network.beside;
    profile.sync = network.sync;
  }

  void collect_runs(std::size_t e, std::size_t complete, const Network& network, Measured& measured) {
    const Experiment& experiment = experiments_[e];
    measured.predicted = predict(experiment, measured.calibration, network);
    std::vector<RoundNumbers>& numbers = rounds_[e].numbers;
    for (std::size_t round = numbers.size(); round < complete; ++round) {
      const Bubbles observed = bubbles(rounds_[e].timelines[round]);
      const std::span<const Calibration> own(&rounds_[e].calibrations[round], 1);
      const Bubbles expected = predict(experiment, pool_ops(empty_measurement(experiment), own), pool_network(own)).bubbles;
      numbers.push_back({observed.period, expected.period, observed.idle_fraction, expected.idle_fraction});
    }
    for (const RoundNumbers& round : numbers) {
      measured.iteration_repeats.push_back(round.measured);
      measured.idle_repeats.push_back(round.measured_idle);
      measured.predicted_repeats.push_back(round.predicted);
      measured.predicted_idle_repeats.push_back(round.predicted_idle);
    }
    measured.iteration = quartiles(measured.iteration_repeats);
    const std::vector<Nanos>& periods = measured.iteration_repeats;
    std::size_t middle = 0;
    for (std::size_t round = 1; round < complete; ++round) {
      if (std::abs(periods[round] - measured.iteration.median) < std::abs(periods[middle] - measured.iteration.median)) middle = round;
    }
    const Nanos per_unit = measured.iteration.median / (updates_every_microbatch(experiment.program) ? std::max(1, experiment.program.microbatches) : 1);
    measured.measured = summarize(experiment.program, StageCosts(experiment.program.stages()), rounds_[e].timelines[middle], per_unit);
    measured.loss = rounds_[e].loss;
    measured.kernels = rounds_[e].kernels;
    measured.kernels_note = rounds_[e].kernels_note;
  }

  const Scenario& scenario_;
  std::vector<Experiment> experiments_;
  const MakeBackend& make_backend_;
  const MeasureOptions& options_;
  RankCores cores_;
  Hosts hosts_ = hosts_of(options_.world);
  Undisturbed undisturbed_{scenario_.run.steal, options_.world, StealMeter(available_core_list())};
  std::vector<ClockFit> clocks_;  ///< by process
  Cluster cluster_;
  std::string device_, placement_;               ///< what computes, where it is not the processor
  std::map<std::string, std::string> software_;  ///< the backend's versions
  Nanos keep_again_ = 0;
  bool imitated_ = false;  ///< the null backend: transfers take what the cluster's link says
  std::vector<Rounds> rounds_;
};

}  // namespace

Nanos Measured::predicted_iteration() const { return quartiles(predicted_repeats).median; }
double Measured::period_error() const {
  return static_cast<double>(predicted_iteration() - iteration.median) / static_cast<double>(std::max<Nanos>(1, iteration.median));
}
double Measured::idle_points() const { return 100 * (fraction_quartiles(predicted_idle_repeats).median - fraction_quartiles(idle_repeats).median); }

MeasuredRun calibrate_experiments(const Scenario& scenario, std::vector<Experiment> experiments, const MakeBackend& backend, const MeasureOptions& options) {
  return Session(scenario, std::move(experiments), backend, options).run(false);
}

MeasuredRun measure_experiments(const Scenario& scenario, std::vector<Experiment> experiments, const MakeBackend& backend, const MeasureOptions& options) {
  return Session(scenario, std::move(experiments), backend, options).run(true);
}

}  // namespace bubblescope
