// Auxiliary networks of local learning: AuxiliarySpec -> layer graphs with their losses, one network
// per stage. They are layer graphs like the models, so costs and modules come from the same code.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/workload/layer_graph.hpp"
#include "sim/workload/model_spec.hpp"

namespace bubblescope {

enum class LossKind : std::uint8_t {
  cross_entropy,   ///< logits against labels
  contrastive,     ///< supervised contrastive (Khosla et al. 2020), temperature 0.07
  reconstruction,  ///< binary cross-entropy of the decoded against the un-normalised image
  similarity,      ///< squared error of the features' similarity matrix against the labels' one
};

/// One head on the features of a cut: its graph, its loss, and the weight of that loss.
struct Branch {
  LayerGraph graph;  ///< without layers: the loss works on the features themselves
  LossKind loss = LossKind::cross_entropy;
  double weight = 1;
};

/// The loss of one stage: the weighted sum over its branches.
struct AuxiliaryNetwork {
  std::string name;
  std::vector<Branch> branches;
};

/// Names `build_auxiliary` knows.
std::vector<std::string> auxiliary_names();

/// The auxiliary network on the output of layer `cut` - 1 of `model`, which ends stage `stage` of
/// `stages` (numbered from 0; the last one has no auxiliary network).
/// Throws InputError for an unknown name, for a network that is not defined on these features, and
/// for unknown loss weights.
AuxiliaryNetwork build_auxiliary(const AuxiliarySpec& spec, const LayerGraph& model, std::int32_t cut,
                                 std::int32_t stage, std::int32_t stages);

/// The last stage's loss: cross-entropy on the model's own logits, no parameters.
AuxiliaryNetwork output_loss();

/// One network per stage of `model` cut at `cuts` (first layer of every stage but the first): the
/// auxiliary networks, and `output_loss` for the last stage.
std::vector<AuxiliaryNetwork> build_auxiliaries(const AuxiliarySpec& spec, const LayerGraph& model,
                                                std::span<const std::int32_t> cuts);

std::int64_t parameter_count(const AuxiliaryNetwork& network);

}  // namespace bubblescope
