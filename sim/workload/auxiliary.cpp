// The auxiliary networks by name, and what each of them accepts; see auxiliary.hpp.
#include "sim/workload/auxiliary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/core/error.hpp"
#include "sim/workload/auxiliary_networks.hpp"

namespace bubblescope {

namespace {

struct Entry {
  std::string name;
  AuxiliaryNetwork (*build)(const AuxiliaryCut&);
  bool needs_image_features;  ///< defined on {channels, height, width} alone
  bool has_blocks;            ///< reads `blocks` on a ResNet, too
  std::vector<std::string> weights;
};

const std::vector<Entry>& entries() {
  static const std::vector<std::string> kInfoPro{"reconstruction_first", "reconstruction_last", "task_first", "task_last"};
  static const std::vector<Entry> kEntries{
      {"greedy", greedy_network, false, false, {}},
      {"dgl", [](const AuxiliaryCut& c) { return dgl_network(c, {3, 3, true, false}); }, true, false, {}},
      {"dgl-mlp", [](const AuxiliaryCut& c) { return dgl_network(c, {0, 3, true, false}); }, true, false, {}},
      {"dgl-cnn", dgl_cnn_network, true, false, {}},
      {"dgl-auglocal", [](const AuxiliaryCut& c) { return dgl_network(c, {3, 2, false, true}); }, true, false, {}},
      {"dgl-man", dgl_man_network, true, false, {}},
      {"infopro", [](const AuxiliaryCut& c) { return infopro_network(c, 1, LossKind::cross_entropy); }, true, false, kInfoPro},
      {"infopro-2c2f", [](const AuxiliaryCut& c) { return infopro_network(c, 2, LossKind::cross_entropy); }, true, false, kInfoPro},
      {"infopro-contrast", [](const AuxiliaryCut& c) { return infopro_network(c, 1, LossKind::contrastive); }, true, false, kInfoPro},
      {"auglocal", auglocal_network, false, true, {"pyramid"}},
      {"predsim", predsim_network, true, false, {"similarity", "prediction"}},
      {"glcan", glcan_network, false, false, {}},
  };
  return kEntries;
}

void check(const Entry& entry, const AuxiliaryCut& cut) {
  const bool resnet = cut.model.family == Family::resnet;
  if (entry.needs_image_features && !resnet) {
    throw InputError(fmt::format("auxiliary network '{}' is defined for convolutional features, not for those of '{}'; "
                                 "expected greedy, auglocal or glcan", entry.name, cut.model.name));
  }
  if (cut.spec.blocks < 0 || cut.spec.blocks > 1024) {
    throw InputError(fmt::format("blocks of auxiliary network '{}' is {}; expected 0 to 1024", entry.name, cut.spec.blocks));
  }
  if (cut.spec.blocks > 0 && resnet && !entry.has_blocks) {
    throw InputError(fmt::format("auxiliary network '{}' on a ResNet has no extra blocks; expected blocks = 0, or the "
                                 "network auglocal", entry.name));
  }
  for (const auto& [name, value] : cut.spec.weights) {
    if (std::find(entry.weights.begin(), entry.weights.end(), name) == entry.weights.end()) {
      throw InputError(fmt::format("unknown weight '{}' of auxiliary network '{}'; expected {}{}", name, entry.name,
                                   entry.weights.empty() ? "none" : fmt::format("one of {}", fmt::join(entry.weights, ", ")),
                                   suggestion(name, entry.weights)));
    }
    if (!(value >= 0) || !std::isfinite(value)) {
      throw InputError(fmt::format("weight '{}' of auxiliary network '{}' is {}; expected 0 or more", name, entry.name, value));
    }
    if (name == "pyramid" && value > 1) {
      throw InputError(fmt::format("weight 'pyramid' of auxiliary network '{}' is {}; expected 0 to 1", entry.name, value));
    }
  }
}

}  // namespace

std::vector<std::string> auxiliary_names() {
  std::vector<std::string> names;
  for (const Entry& entry : entries()) names.push_back(entry.name);
  return names;
}

AuxiliaryNetwork build_auxiliary(const AuxiliarySpec& spec, const LayerGraph& model, std::int32_t cut,
                                 std::int32_t stage, std::int32_t stages) {
  if (cut < 1 || cut >= model.size()) {
    throw InputError(fmt::format("no auxiliary network after layer {} of {}; expected a cut between its {} layers",
                                 cut - 1, model.name, model.size()));
  }
  const auto& all = entries();
  const auto entry = std::find_if(all.begin(), all.end(), [&](const Entry& e) { return e.name == spec.name; });
  if (entry == all.end()) {
    throw InputError(fmt::format("unknown auxiliary network '{}'; expected one of {}{}", spec.name,
                                 fmt::join(auxiliary_names(), ", "), suggestion(spec.name, auxiliary_names())));
  }
  const AuxiliaryCut at{spec, model, cut - 1, stage, stages};
  check(*entry, at);
  return entry->build(at);
}

AuxiliaryNetwork output_loss() { return {"output", {{LayerGraph{}, LossKind::cross_entropy, 1.0}}}; }

std::vector<AuxiliaryNetwork> build_auxiliaries(const AuxiliarySpec& spec, const LayerGraph& model,
                                                std::span<const std::int32_t> cuts) {
  const auto stages = static_cast<std::int32_t>(cuts.size()) + 1;
  std::vector<AuxiliaryNetwork> networks;
  for (std::int32_t stage = 0; stage + 1 < stages; ++stage) {
    networks.push_back(build_auxiliary(spec, model, cuts[static_cast<std::size_t>(stage)], stage, stages));
  }
  networks.push_back(output_loss());
  return networks;
}

std::int64_t parameter_count(const AuxiliaryNetwork& network) {
  std::int64_t count = 0;
  for (const Branch& branch : network.branches) count += parameter_count(branch.graph.layers);
  return count;
}

}  // namespace bubblescope
