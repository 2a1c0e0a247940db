// From the typed scenario to layer graph, cuts, costs, cluster and Programs.
#include "sim/scenario/build.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sim/core/cost_list.hpp"
#include "sim/core/error.hpp"
#include "sim/core/profile.hpp"
#include "sim/lower/copy_reduction.hpp"
#include "sim/lower/recompute.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "sim/workload/analytic.hpp"
#include "sim/workload/hardware.hpp"
#include "sim/workload/models.hpp"
#include "sim/workload/partition.hpp"

namespace bubblescope {
namespace {

/// Options that follow from the training: clipping and accumulation, where the schedule knows them.
void derive_options(ScheduleConfig& config, const Schedule& schedule, const TrainingConfig& training) {
  for (const ScheduleOption& option : schedule.options) {
    if (option.name == "clip" && training.clip_norm > 0) config.options["clip"] = "1";
    if (option.name == "accumulate") config.options["accumulate"] = fmt::format("{}", training.accumulate);
  }
}

DeviceSpec build_device(const Scenario& scenario) {
  const ClusterConfig& config = scenario.cluster;
  DeviceSpec device = device_spec(hardware(config.device), precision_from_name(scenario.training.precision));
  if (config.launch >= 0) device.launch = config.launch;
  device.run_ahead = static_cast<std::int32_t>(config.run_ahead);
  if (config.memory >= 0) device.memory_bytes = config.memory;
  return device;
}

CostList cost_list(const CostsConfig& costs) {
  CostList list;
  for (const auto& [name, times] : costs.uniform) {
    const auto kind = cost_kind(name);
    if (!kind) throw InputError(fmt::format("unknown kind of op '{}' in 'uniform'; expected one of {}", name, fmt::join(cost_kind_names(), ", ")));
    list.emplace(*kind, times);
  }
  return list;
}

StageCosts analytic(const Scenario& scenario, const Experiment& experiment, const DeviceSpec& device,
                    const LayerGraph& model) {
  const AnalyticOptions options{
      .device = device,
      .efficiency = scenario.cluster.efficiency,
      .memory_efficiency = scenario.cluster.memory_efficiency,
      .element_bytes = precision_bytes(precision_from_name(scenario.training.precision)),
      .weight_element_bytes = weight_bytes(precision_from_name(scenario.training.precision)),
      .optimizer = scenario.training.optimizer,
  };
  const std::array sizes{experiment.samples};
  return analytic_costs(model, experiment.cuts, experiment.auxiliaries, options, sizes).at(experiment.samples);
}

StageCosts profiled(const std::filesystem::path& file, const Experiment& experiment) {
  Costs costs = costs_of(read_profile(file), experiment.config.label);
  costs.source = file.string();
  for (const auto& [samples, measured] : costs.by_size) {
    if (measured.stages() == experiment.program.stages()) continue;
    throw ShapeError(fmt::format("the profile {} was measured with {} stages, but the schedule has {}; expected a "
                                 "calibration of this scenario", file.string(), measured.stages(), experiment.program.stages()));
  }
  return costs.at(experiment.samples);
}

/// How the model is cut for the experiment's program: every chain of it is a whole copy of the model.
void cut(const Scenario& scenario, const LayerGraph& model, bool local, Experiment& experiment) {
  experiment.cuts = cut_points(scenario, model, static_cast<std::int32_t>(experiment.program.chains.front().size()));
  if (local) experiment.auxiliaries = build_auxiliaries(auxiliary_spec(scenario.auxiliary), model, experiment.cuts);
}

/// The costs of every stage, from those of one copy of the model.
StageCosts for_every_chain(const StageCosts& copy, const Program& program) {
  StageCosts costs(program.stages());
  for (const auto& chain : program.chains) {
    for (std::size_t i = 0; i < chain.size() && static_cast<Stage>(i) < copy.stages(); ++i) costs.set_stage(chain[i], copy, static_cast<Stage>(i));
  }
  return costs;
}

/// The costs of one schedule's stages. Bytes come from the model wherever there is one.
StageCosts experiment_costs(const Scenario& scenario, const Experiment& experiment, const LayerGraph* model) {
  const CostsConfig& costs = scenario.costs;
  const auto with_model = [&] { return for_every_chain(analytic(scenario, experiment, build_device(scenario), *model), experiment.program); };
  if (costs.source == "analytic") return with_model();
  StageCosts durations = costs.source == "uniform" ? stage_costs(cost_list(costs), experiment.program)
                                                   : profiled(costs.profile, experiment);
  return model == nullptr ? durations : with_bytes_of(std::move(durations), with_model());
}

Experiment build(const Scenario& scenario, const ScheduleConfig& config) {
  const Schedule& schedule = find_schedule(config.name);
  const TrainingConfig& training = scenario.training;
  check_microbatches(config, scenario);
  Experiment experiment;
  experiment.config = config;
  experiment.config.microbatches = resolved_microbatches(config, scenario);
  derive_options(experiment.config, schedule, training);

  const std::int64_t batches = schedule.whole_batches ? experiment.config.microbatches : training.accumulate;
  experiment.samples = schedule.whole_batches ? training.batch : training.batch / experiment.config.microbatches;
  experiment.iteration_samples = batches * training.batch;

  const std::int64_t microbatches = experiment.iteration_samples / experiment.samples;
  if (microbatches > std::numeric_limits<std::int32_t>::max()) {
    throw InputError(fmt::format("one iteration has {} microbatches; expected at most {}", microbatches, std::numeric_limits<std::int32_t>::max()));
  }
  std::optional<LayerGraph> model;
  if (needs_model(scenario)) model = build_model(model_spec(scenario.model));
  const LayerGraph* layers = model ? &*model : nullptr;
  const auto costs = [&](const Program& placed) {
    Experiment searched = experiment;
    searched.program = placed;
    if (model) cut(scenario, *model, schedule.local, searched);
    return with_recompute(experiment_costs(scenario, searched, layers), placed, config.recompute);
  };
  Program program = generate(schedule, {
      .ranks = scenario.cluster.ranks,
      .microbatches = static_cast<std::int32_t>(microbatches),
      .options = experiment.config.options,
      .costs = costs,
      .cluster = schedule.searched ? build_cluster(scenario) : Cluster{},
  });
  if (!schedule.local) program.channels.front() = channel_mode(scenario.cluster.channel);
  experiment.program = add_send_recv(add_copy_reduction(with_recompute(program, config.recompute)));
  if (model) cut(scenario, *model, schedule.local, experiment);
  experiment.costs = experiment_costs(scenario, experiment, layers);
  return experiment;
}

}  // namespace

ModelSpec model_spec(const ModelConfig& config) {
  return {.name = config.name, .image = config.image, .classes = config.classes, .patch = config.patch,
          .depth = config.depth, .width = config.width, .heads = config.heads, .dropout = config.dropout,
          .batchnorm = config.batchnorm};
}

AuxiliarySpec auxiliary_spec(const AuxiliaryConfig& config) {
  return {.name = config.name, .blocks = config.blocks, .weights = config.weights};
}

bool needs_model(const Scenario& scenario) {
  return scenario.costs.source != "uniform" || scenario.backend.name != "null";
}

std::vector<std::int32_t> cut_points(const Scenario& scenario, const LayerGraph& model, std::int32_t stages) {
  return partition(model, stages, scenario.partition.method, scenario.partition.cuts);
}

Cluster build_cluster(const Scenario& scenario) {
  const ClusterConfig& config = scenario.cluster;
  Cluster cluster = uniform_cluster(config.ranks, {.latency = std::max<Nanos>(0, config.link.latency),
                                                   .bandwidth = std::max(0.0, config.link.bandwidth),
                                                   .staging = std::max(0.0, config.link.staging)});
  cluster.name = fmt::format("{} x {}", config.ranks, config.device);
  std::fill(cluster.devices.begin(), cluster.devices.end(), build_device(scenario));
  if (scenario.costs.source == "profile") {
    const CostProfile profile = read_profile(scenario.costs.profile);
    if (!config.link.given()) profile.join(cluster);
    cluster.sync = profile.sync;
  }
  const auto& cores = scenario.backend.cores;
  for (std::size_t rank = 0; rank < std::min(cores.size(), cluster.devices.size()); ++rank) {
    cluster.devices[rank].cores.assign(cores[rank].begin(), cores[rank].end());
  }
  return cluster;
}

std::int64_t resolved_microbatches(const ScheduleConfig& config, const Scenario& scenario) {
  if (config.microbatches > 0) return config.microbatches;
  const Schedule& schedule = find_schedule(config.name);
  if (schedule.local) return scenario.training.accumulate;
  if (schedule.whole_batches) return 2 * scenario.cluster.ranks;  // enough to fill any of these pipelines
  return config.name == "naive" ? 1 : scenario.cluster.ranks;
}

void check_microbatches(const ScheduleConfig& config, const Scenario& scenario) {
  const TrainingConfig& training = scenario.training;
  const Schedule& schedule = find_schedule(config.name);
  const std::int64_t microbatches = resolved_microbatches(config, scenario);
  const std::string_view origin = config.microbatches == 0 ? " (the default)" : "";
  if (schedule.whole_batches && !schedule.local && training.accumulate > 1) {
    throw ShapeError(fmt::format("schedule '{}' updates after every batch; expected training.accumulate = 1, not {}", config.name, training.accumulate));
  }
  if (schedule.whole_batches && microbatches % training.accumulate != 0) {
    throw ShapeError(fmt::format("{} batches per iteration{} are no multiple of the {} that one step accumulates; expected a multiple",
                                 microbatches, origin, training.accumulate));
  }
  if (!schedule.whole_batches && training.batch % microbatches != 0) {
    throw ShapeError(fmt::format("{} microbatches{} of schedule '{}' do not divide the batch of {}; expected a divisor",
                                 microbatches, origin, config.name, training.batch));
  }
}

Experiment build_experiment(const Scenario& scenario, const ScheduleConfig& schedule) {
  const auto text = [&](const InputError& error) { return fmt::format("{}: schedule '{}': {}", scenario.file.string(), schedule.label, error.what()); };
  try {
    return build(scenario, schedule);
  } catch (const ShapeError& error) {
    throw ShapeError(text(error));
  } catch (const InputError& error) {
    throw InputError(text(error));
  }
}

StageCosts with_bytes_of(StageCosts durations, const StageCosts& bytes) {
  for (Stage s = 0; s < std::min(durations.stages(), bytes.stages()); ++s) durations.bytes(s) = bytes.bytes(s);
  return durations;
}

std::vector<MemoryExcess> memory_excess(const std::vector<std::int64_t>& peak_bytes, const Cluster& cluster) {
  std::vector<MemoryExcess> excesses;
  for (std::size_t rank = 0; rank < std::min(peak_bytes.size(), cluster.devices.size()); ++rank) {
    const std::int64_t capacity = cluster.devices[rank].memory_bytes;
    if (capacity > 0 && peak_bytes[rank] > capacity) {
      excesses.push_back({static_cast<Rank>(rank), peak_bytes[rank], capacity});
    }
  }
  return excesses;
}

std::vector<std::vector<int>> spread_cores(std::int32_t ranks, std::int64_t threads, const std::vector<int>& available) {
  std::vector<std::vector<int>> cores(static_cast<std::size_t>(ranks));
  if (available.empty()) return cores;
  const auto per_rank = std::min(static_cast<std::size_t>(threads), available.size());
  std::size_t next = 0;
  for (auto& set : cores) {
    for (std::size_t i = 0; i < per_rank; ++i) set.push_back(available[next++ % available.size()]);
  }
  return cores;
}

}  // namespace bubblescope
