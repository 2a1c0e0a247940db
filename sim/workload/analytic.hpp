// Analytic costs: layer graph and device -> durations, launches and bytes of every op, without
// measuring anything.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/core/cluster.hpp"
#include "sim/core/costs.hpp"
#include "sim/workload/auxiliary.hpp"
#include "sim/workload/layer_graph.hpp"

namespace bubblescope {

/// Least share of a peak that may be assumed; below it times make no sense, and at last do not fit.
inline constexpr double kLeastEfficiency = 1e-6;

struct AnalyticOptions {
  DeviceSpec device;                 ///< peak FLOP/s, bytes/s
  double efficiency = 1.0;           ///< share of the peak FLOP/s that is reached, in (0, 1]
  double memory_efficiency = 1.0;    ///< share of the memory bandwidth that is reached, in (0, 1]
  std::int64_t element_bytes = 4;         ///< of activations and their gradients
  std::int64_t weight_element_bytes = 4;  ///< of weights, their gradients and the optimizer's state; more in mixed precision
  std::string optimizer = "sgd";     ///< `sgd` (with momentum), `adamw`
};

/// Costs per stage of `model` cut at `cuts`, for every number of samples in `sizes`.
///
/// Every primitive takes max(FLOPs / (peak * efficiency), bytes / (bandwidth * memory_efficiency)) per
/// pass, so that layers with little work and large activations get their time; a pass is the
/// sum, rounded half up to nanoseconds. Launches are counted beside, not timed here.
///   with `auxiliaries` (one per stage, `build_auxiliaries`): local learning. A is the auxiliary
///     network's forward and loss, LB its backward and that of the stage without the gradient of the
///     stage's input, U updates both; `auxiliary*` bytes are filled in.
///   with none: backpropagation. The last stage's F and B include the cross-entropy of the output.
/// F, B, I, W and R (which costs what F costs) are filled in either way. B is I + W; the first
/// stage's backward computes no gradient of the images.
/// Throws InputError where the device's figures or the efficiency are missing or impossible, or
/// `auxiliaries` is neither empty nor one per stage.
Costs analytic_costs(const LayerGraph& model, std::span<const std::int32_t> cuts,
                     std::span<const AuxiliaryNetwork> auxiliaries, const AnalyticOptions& options,
                     std::span<const std::int64_t> sizes);

}  // namespace bubblescope
