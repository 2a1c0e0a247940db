// Auxiliary modules: the local loss of one stage; see modules.hpp.
#include <algorithm>

#include "backend/torch/losses.hpp"
#include "backend/torch/modules.hpp"

namespace bubblescope {

AuxiliaryModule::AuxiliaryModule(const AuxiliaryNetwork& network, std::int32_t stage, const ModuleOptions& options) : dtype_(options.dtype) {
  std::uint64_t branch_number = 0;
  for (const Branch& branch : network.branches) {
    // Stream 0 is the model's; every branch of every stage has one of its own.
    const std::uint64_t stream = ((static_cast<std::uint64_t>(stage) + 1) << 8) + branch_number++;
    heads_.push_back({branch.loss, branch.weight, branch.graph.classes,
                      StageModule(branch.graph.layers, 0, branch.graph.frozen_batchnorm, options, stream,
                                  branch.graph.name + ".")});
    const StageModule& module = heads_.back().module;
    parameters_.insert(parameters_.end(), module.parameters().begin(), module.parameters().end());
    buffers_.insert(buffers_.end(), module.buffers().begin(), module.buffers().end());
  }
}

torch::Tensor AuxiliaryModule::loss(const torch::Tensor& features, const torch::Tensor& labels, const torch::Tensor& images,
                                    const ForwardContext& context) {
  torch::Tensor total;
  for (Head& head : heads_) {
    const torch::Tensor output = head.module.forward(features, context).to(dtype_);
    torch::Tensor loss;
    switch (head.loss) {
      case LossKind::cross_entropy:
        loss = at::cross_entropy_loss(output, labels);
        break;
      case LossKind::contrastive:
        loss = contrastive_loss(output, labels);
        break;
      case LossKind::reconstruction:
        loss = at::binary_cross_entropy(output, images.to(output.scalar_type()));
        break;
      case LossKind::similarity:
        loss = similarity_loss(output, labels, head.classes);
        break;
    }
    if (head.weight != 1) loss = loss * head.weight;
    total = total.defined() ? total + loss : loss;
  }
  return total;
}

torch::Tensor AuxiliaryModule::logits(const torch::Tensor& features, const ForwardContext& context) {
  for (Head& head : heads_) {
    if (head.loss == LossKind::cross_entropy) return head.module.forward(features, context);
  }
  return {};
}

bool AuxiliaryModule::has_logits() const {
  return std::any_of(heads_.begin(), heads_.end(), [](const Head& h) { return h.loss == LossKind::cross_entropy; });
}

bool AuxiliaryModule::needs_images() const {
  return std::any_of(heads_.begin(), heads_.end(), [](const Head& h) { return h.loss == LossKind::reconstruction; });
}

}  // namespace bubblescope
