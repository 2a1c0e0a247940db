// Where a model is cut into stages; see partition.hpp.
#include "sim/workload/partition.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "sim/core/error.hpp"
#include "sim/workload/layer_costs.hpp"

namespace bubblescope {

namespace {

/// Cuts `weights` into `stages` parts with the smallest possible sum of `cost(part)`, cost being
/// infinite above `cap`; of several the one with the earliest cuts. Dynamic programme over
/// (parts left, first layer).
struct Best {
  std::int64_t largest = std::numeric_limits<std::int64_t>::max();
  double squares = std::numeric_limits<double>::infinity();
  std::int32_t end = 0;  ///< of the first part
};

/// The smallest possible largest part (`cap` < 0), or the smallest sum of squares with no part above
/// `cap`. Returns a table [parts][first layer].
std::vector<std::vector<Best>> best_cuts(const std::vector<std::int64_t>& prefix, std::int32_t stages, std::int64_t cap) {
  const auto layers = static_cast<std::int32_t>(prefix.size()) - 1;
  const auto sum = [&](std::int32_t a, std::int32_t b) {
    return prefix[static_cast<std::size_t>(b)] - prefix[static_cast<std::size_t>(a)];
  };
  std::vector<std::vector<Best>> table(static_cast<std::size_t>(stages) + 1,
                                       std::vector<Best>(static_cast<std::size_t>(layers) + 1));
  table[0][static_cast<std::size_t>(layers)] = {0, 0.0, layers};
  for (std::int32_t parts = 1; parts <= stages; ++parts) {
    for (std::int32_t first = layers - parts; first >= 0; --first) {
      Best& best = table[static_cast<std::size_t>(parts)][static_cast<std::size_t>(first)];
      for (std::int32_t end = first + 1; end <= layers - parts + 1; ++end) {
        const Best& rest = table[static_cast<std::size_t>(parts) - 1][static_cast<std::size_t>(end)];
        if (rest.largest == std::numeric_limits<std::int64_t>::max()) continue;
        const std::int64_t part = sum(first, end);
        if (cap >= 0 && part > cap) break;
        const std::int64_t largest = std::max(part, rest.largest);
        const double squares = static_cast<double>(part) * static_cast<double>(part) + rest.squares;
        if (cap >= 0 ? squares < best.squares : largest < best.largest) best = {largest, squares, end};
      }
    }
  }
  return table;
}

std::vector<std::int32_t> cut_by_flops(const LayerGraph& model, std::int32_t stages) {
  std::vector<std::int64_t> prefix{0};
  for (const Layer& layer : model.layers) prefix.push_back(prefix.back() + forward_macs(std::span(&layer, 1)));
  const std::int64_t cap = best_cuts(prefix, stages, -1)[static_cast<std::size_t>(stages)][0].largest;
  const auto table = best_cuts(prefix, stages, cap);
  std::vector<std::int32_t> cuts;
  std::int32_t first = 0;
  for (std::int32_t parts = stages; parts > 1; --parts) {
    first = table[static_cast<std::size_t>(parts)][static_cast<std::size_t>(first)].end;
    cuts.push_back(first);
  }
  return cuts;
}

std::vector<std::int32_t> cut_by_layers(const LayerGraph& model, std::int32_t stages) {
  std::vector<std::int32_t> cuts;
  for (std::int32_t stage = 1; stage < stages; ++stage) {
    cuts.push_back(static_cast<std::int32_t>(std::int64_t{stage} * model.size() / stages));
  }
  return cuts;
}

/// A published split: the last block of every module but the last, as {group, block}.
struct Split {
  const char* model;
  std::vector<std::array<std::int32_t, 2>> last_blocks;
};

/// InfoPro's configuration for its CIFAR ResNets (Wang et al. 2021), used by MAN++ and HPFF as well.
const std::vector<Split>& published_splits() {
  static const std::vector<Split> kSplits{
      {"resnet32", {{2, 1}}},
      {"resnet32", {{1, 4}, {2, 4}}},
      {"resnet32", {{1, 2}, {2, 1}, {3, 0}}},
      {"resnet32", {{1, 0}, {1, 2}, {1, 4}, {2, 1}, {2, 3}, {3, 0}, {3, 2}}},
      {"resnet110", {{2, 8}}},
      {"resnet110", {{1, 17}, {2, 17}}},
      {"resnet110", {{1, 11}, {2, 7}, {3, 3}}},
      {"resnet110", {{1, 4}, {1, 11}, {2, 0}, {2, 7}, {2, 14}, {3, 3}, {3, 10}}},
  };
  return kSplits;
}

std::vector<std::int32_t> cut_as_published(const LayerGraph& model, std::int32_t stages) {
  if (stages == 1) return {};
  if (model.family == Family::vit) {
    const std::int32_t blocks = model.size() - 2;
    if (blocks % stages != 0) {
      throw ShapeError(fmt::format("the {} blocks of {} do not split into {} equal groups; expected a number of stages that "
                                   "divides them, or another method", blocks, model.name, stages));
    }
    std::vector<std::int32_t> cuts;
    for (std::int32_t stage = 1; stage < stages; ++stage) cuts.push_back(1 + stage * (blocks / stages));
    return cuts;
  }
  std::string known;
  for (const Split& split : published_splits()) {
    if (model.name != split.model) continue;
    if (static_cast<std::int32_t>(split.last_blocks.size()) + 1 == stages) {
      std::vector<std::int32_t> cuts;
      for (const auto& [group, block] : split.last_blocks) {
        const std::int32_t per_group = (model.size() - 2) / 3;
        cuts.push_back(1 + (group - 1) * per_group + block + 1);  // the stem is layer 0
      }
      return cuts;
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", split.last_blocks.size() + 1);
  }
  if (model.name == "resnet32" && stages == 16) {  // every block alone, the stem a module of its own
    std::vector<std::int32_t> cuts;
    for (std::int32_t layer = 1; layer <= 15; ++layer) cuts.push_back(layer);
    return cuts;
  }
  if (model.name == "resnet32") known += ", 16";
  throw ShapeError(fmt::format("no published split of {} into {} stages; expected {}", model.name, stages,
                               known.empty() ? "another method" : fmt::format("{} stages, or another method", known)));
}

std::vector<std::int32_t> checked_cuts(const LayerGraph& model, std::int32_t stages, std::span<const std::int64_t> cuts) {
  if (static_cast<std::int64_t>(cuts.size()) != stages - 1) {
    throw ShapeError(fmt::format("{} cuts make {} stages; expected {} cuts for {} stages", cuts.size(), cuts.size() + 1,
                                 stages - 1, stages));
  }
  std::vector<std::int32_t> result;
  std::int64_t previous = 0;
  for (const std::int64_t cut : cuts) {
    if (cut <= previous || cut >= model.size()) {
      throw InputError(fmt::format("cut {} is out of place; expected cuts that rise from 1 to at most {}, the last layer "
                                   "of {}", cut, model.size() - 1, model.name));
    }
    result.push_back(static_cast<std::int32_t>(cut));
    previous = cut;
  }
  return result;
}

}  // namespace

std::vector<std::string> partition_names() { return {"flops", "layers", "reference", "explicit"}; }

std::vector<std::int32_t> partition(const LayerGraph& model, std::int32_t stages, std::string_view method,
                                    std::span<const std::int64_t> cuts) {
  if (stages < 1 || stages > model.size()) {
    throw ShapeError(fmt::format("{} cannot be cut into {} stages; expected 1 to {}, its number of layers", model.name,
                                 stages, model.size()));
  }
  if (method == "flops") return cut_by_flops(model, stages);
  if (method == "layers") return cut_by_layers(model, stages);
  if (method == "reference") return cut_as_published(model, stages);
  if (method == "explicit") return checked_cuts(model, stages, cuts);
  throw InputError(fmt::format("unknown partition method '{}'; expected one of {}{}", method,
                               fmt::join(partition_names(), ", "), suggestion(method, partition_names())));
}

std::vector<StageRange> stage_ranges(const LayerGraph& model, std::span<const std::int32_t> cuts) {
  std::vector<StageRange> ranges;
  std::int32_t first = 0;
  for (const std::int32_t cut : cuts) {
    ranges.push_back({first, cut});
    first = cut;
  }
  ranges.push_back({first, model.size()});
  for (const StageRange& range : ranges) static_cast<void>(layer_range(model, range.first, range.last));
  return ranges;
}

}  // namespace bubblescope
