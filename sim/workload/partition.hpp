// Partition: where a model is cut into stages.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/workload/layer_graph.hpp"

namespace bubblescope {

/// `flops`, `layers`, `reference`, `explicit`.
std::vector<std::string> partition_names();

/// The cuts (first layer of every stage but the first) of `model` into `stages` stages.
///   flops: the largest stage's forward multiply-adds are as few as possible, exactly; among those,
///     the smallest sum of squares, then the earliest cuts.
///   layers: equal numbers of layers, as far as they go.
///   reference: the published splits: InfoPro's for ResNet-32 and ResNet-110, equal numbers of blocks
///     for ViT (the patch embedding with the first, the head with the last).
///   explicit: `cuts`, checked.
/// Throws InputError for an unknown method, too many stages, no published split, or wrong cuts.
std::vector<std::int32_t> partition(const LayerGraph& model, std::int32_t stages, std::string_view method,
                                    std::span<const std::int64_t> cuts = {});

/// Stage s holds layers [first, last).
struct StageRange {
  std::int32_t first = 0;
  std::int32_t last = 0;
};
std::vector<StageRange> stage_ranges(const LayerGraph& model, std::span<const std::int32_t> cuts);

}  // namespace bubblescope
