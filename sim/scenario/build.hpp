// From the typed scenario to what is simulated and executed: layer graph, cuts, costs, cluster, and
// one Program per schedule.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/core/cluster.hpp"
#include "sim/core/costs.hpp"
#include "sim/core/program.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/workload/auxiliary.hpp"
#include "sim/workload/layer_graph.hpp"
#include "sim/workload/model_spec.hpp"

namespace bubblescope {

ModelSpec model_spec(const ModelConfig& config);
AuxiliarySpec auxiliary_spec(const AuxiliaryConfig& config);

/// Whether stages are made of a model's layers: not where uniform costs meet the null backend.
bool needs_model(const Scenario& scenario);

/// First layer of every stage but the first. Throws InputError where the model has too few layers
/// for `stages`, or explicit cuts are for another number of stages.
std::vector<std::int32_t> cut_points(const Scenario& scenario, const LayerGraph& model, std::int32_t stages);

/// The scenario's devices and links. `cores` of its backend become the devices' shared cores. Where
/// costs come from a profile, so do the cost of a barrier and, unless the scenario gives one, the link.
/// Throws InputError where the device has no such precision or the profile cannot be read.
Cluster build_cluster(const Scenario& scenario);

/// Microbatches of one batch (pipelines) or batches per iteration (local schedules): what was asked
/// for, else the default: as many as ranks for pipelines, 1 for `naive`, as many as one optimizer
/// step accumulates for local schedules.
std::int64_t resolved_microbatches(const ScheduleConfig& schedule, const Scenario& scenario);

/// Throws ShapeError where batch and step cannot be made of so many.
void check_microbatches(const ScheduleConfig& schedule, const Scenario& scenario);

/// One schedule of a scenario, ready to be predicted and executed.
struct Experiment {
  ScheduleConfig config;           ///< with the number of microbatches and the label filled in
  Program program;                 ///< one iteration, with sends, receives and reductions over copies
  std::int64_t samples = 1;        ///< per microbatch
  std::int64_t iteration_samples = 1;  ///< trained on in one iteration
  std::vector<std::int32_t> cuts;  ///< first layer of every stage but the first; empty without a model
  std::vector<AuxiliaryNetwork> auxiliaries;  ///< one per stage; empty where nothing is learned locally
  StageCosts costs;                ///< of `samples` per microbatch; bytes wherever there is a model
};

/// `durations` with the bytes that `bytes` knows: measured times have none of their own.
StageCosts with_bytes_of(StageCosts durations, const StageCosts& bytes);

/// One schedule. Throws InputError `file: schedule 'label': what is wrong; what was expected`, ShapeError
/// where other schedules may do.
Experiment build_experiment(const Scenario& scenario, const ScheduleConfig& schedule);

/// A rank that needs more memory than its device has.
struct MemoryExcess {
  Rank rank = 0;
  std::int64_t peak_bytes = 0;
  std::int64_t capacity = 0;
};
/// Peak bytes per rank against the cluster's capacities; unknown capacities (0) are never exceeded.
std::vector<MemoryExcess> memory_excess(const std::vector<std::int64_t>& peak_bytes, const Cluster& cluster);

/// Cores for ranks that were given none: rank after rank takes `threads` of `available`, from the
/// start again when they run out (then ranks share cores).
std::vector<std::vector<int>> spread_cores(std::int32_t ranks, std::int64_t threads, const std::vector<int>& available);

}  // namespace bubblescope
