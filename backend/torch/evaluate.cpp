// Evaluation of the whole chained model on the test part.
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "backend/torch/batches.hpp"
#include "backend/torch/device.hpp"
#include "backend/torch/tensor_bytes.hpp"
#include "backend/torch/training.hpp"
#include "sim/core/error.hpp"
#include "sim/workload/partition.hpp"

namespace bubblescope {

namespace {

constexpr std::int64_t kSamples = 128;  ///< per test batch

struct Score {
  double loss = 0;  ///< summed over the batch's samples
  std::int64_t right = 0;
  std::vector<std::int64_t> auxiliary_right;
};

std::int64_t count_right(const torch::Tensor& scores, const torch::Tensor& labels) {
  return scores.argmax(1).eq(labels.to(scores.device())).sum().item<std::int64_t>();
}

Score score(const Batch& batch, std::vector<TorchDevice::StageView>& stages) {
  const ForwardContext context{.training = false};
  Score result;
  result.auxiliary_right.resize(stages.size());
  torch::Tensor value = batch.images;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    if (const auto& parameters = stages[s].module->parameters(); !parameters.empty()) value = value.to(parameters.front().tensor.device());
    value = stages[s].module->forward(value, context);
    AuxiliaryModule* auxiliary = stages[s].auxiliary;
    if (s + 1 < stages.size() && auxiliary != nullptr && auxiliary->has_logits()) {
      result.auxiliary_right[s] = count_right(auxiliary->logits(value, context), batch.labels);
    }
  }
  result.right = count_right(value, batch.labels);
  result.loss = torch::nn::functional::cross_entropy(value.to(torch::kFloat64), batch.labels.to(value.device())).item<double>() *
                static_cast<double>(batch.labels.size(0));
  return result;
}

/// The stages of the first chain. Of those of other processes there are copies, made for this where the first rank of this
/// process computes.
class WholeModel {
 public:
  WholeModel(Ranks& ranks, const TorchConfig& config) : stages_(config.cuts.size() + 1) {
    std::map<std::string, torch::Tensor> state;
    std::mutex mutex;
    ranks.each([&](Rank rank, Device& device) {
      auto& own = dynamic_cast<TorchDevice&>(device);
      const std::lock_guard lock(mutex);
      if (rank == ranks.own().first) where_ = own.where();
      for (const auto& view : own.stages()) {
        if (view.chain == 0) stages_[static_cast<std::size_t>(view.position)] = view;
      }
      if (ranks.world() != nullptr) state.merge(own.state());
    });
    if (ranks.world() != nullptr) complete(*ranks.world(), config, state);
  }

  const std::vector<TorchDevice::StageView>& stages() const { return stages_; }

 private:
  void complete(World& world, const TorchConfig& config, std::map<std::string, torch::Tensor>& state) {
    std::erase_if(state, [](const auto& entry) { return !entry.first.starts_with("model.") && !entry.first.starts_with("auxiliary."); });
    std::map<std::string, torch::Tensor> all;
    for (const std::string& bytes : world.gather_all(tensors_to_bytes(state))) all.merge(named_tensors_from_bytes(bytes));
    const auto shared = torch_shared(config);
    const std::vector<StageRange> ranges = stage_ranges(shared->graph, config.cuts);
    const auto copy = [&all](const std::string& prefix, const std::vector<NamedTensor>& to) {
      const torch::NoGradGuard no_grad;
      for (const NamedTensor& t : to) t.tensor.detach().copy_(all.at(prefix + t.name));
    };
    const bool local = world.any(stages_.front().auxiliary != nullptr);
    const ModuleOptions options{.dtype = shared->dtype, .device = where_, .seed = config.seed, .autocast = shared->autocast};
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      if (stages_[s].module != nullptr) continue;
      TorchDevice::StageView& view = stages_[s];
      view.position = static_cast<std::int32_t>(s);
      view.module = modules_.emplace_back(std::make_unique<StageModule>(shared->graph, ranges[s].first, ranges[s].last, options)).get();
      copy("model.", view.module->parameters());
      copy("model.", view.module->buffers());
      if (!local || s + 1 == stages_.size()) continue;
      view.auxiliary = auxiliaries_.emplace_back(std::make_unique<AuxiliaryModule>(shared->auxiliaries[s], view.position, options)).get();
      const std::string prefix = fmt::format("auxiliary.{}.", s);
      copy(prefix, view.auxiliary->parameters());
      copy(prefix, view.auxiliary->buffers());
    }
    // The ranks read them on streams of their own.
    if (!where_.is_cpu()) c10::impl::VirtualGuardImpl(where_.type()).synchronizeDevice(where_.index());
  }

  std::vector<TorchDevice::StageView> stages_;
  torch::Device where_ = torch::kCPU;
  std::vector<std::unique_ptr<StageModule>> modules_;
  std::vector<std::unique_ptr<AuxiliaryModule>> auxiliaries_;
};

/// Every process has some of the batches.
void share_scores(World& world, std::vector<Score>& scores, std::size_t stages) {
  FieldsOut mine;
  for (const Score& one : scores) mine.add(one.loss).add(one.right).add(one.auxiliary_right);
  const std::vector<std::string> all = world.gather_all(mine.take());
  for (Score& one : scores) one = {0, 0, std::vector<std::int64_t>(stages, 0)};
  for (const std::string& bytes : all) {
    FieldsIn fields(bytes);
    for (Score& one : scores) {
      one.loss += fields.get<double>();
      one.right += fields.get<std::int64_t>();
      const auto right = fields.get<std::vector<std::int64_t>>();
      for (std::size_t s = 0; s < right.size(); ++s) one.auxiliary_right[s] += right[s];
    }
  }
}

}  // namespace

Evaluation evaluate(Ranks& ranks, const TorchConfig& config) {
  WholeModel model(ranks, config);
  const std::vector<TorchDevice::StageView>& stages = model.stages();

  const DataSet& set = *config.data;
  const std::int64_t count = set.test.count();
  const auto dtype = config.precision == "float64" ? torch::kFloat64 : torch::kFloat32;
  std::vector<Score> scores(static_cast<std::size_t>((count + kSamples - 1) / kSamples));
  ranks.each([&](Rank rank, Device& device) {
    const torch::NoGradGuard no_grad;
    std::vector<TorchDevice::StageView> mine = stages;
    const torch::Device where = dynamic_cast<TorchDevice&>(device).where();
    for (auto b = static_cast<std::size_t>(rank); b < scores.size(); b += static_cast<std::size_t>(ranks.count())) {  // the rest is the other ranks'
      const auto first = static_cast<std::int64_t>(b) * kSamples;
      scores[b] = score(test_batch(set, first, std::min(first + kSamples, count), dtype, where), mine);
    }
  });

  if (World* const world = ranks.world()) share_scores(*world, scores, stages.size());

  Evaluation result;
  std::int64_t right = 0;
  std::vector<std::int64_t> auxiliary_right(stages.size());
  for (const Score& batch : scores) {
    result.loss += batch.loss / static_cast<double>(count);
    right += batch.right;
    for (std::size_t s = 0; s < stages.size(); ++s) auxiliary_right[s] += batch.auxiliary_right[s];
  }
  result.accuracy = static_cast<double>(right) / static_cast<double>(count);
  const bool local = stages.size() > 1 && stages.front().auxiliary != nullptr;
  for (std::size_t s = 0; local && s < stages.size(); ++s) {
    const bool scored = s + 1 < stages.size() && stages[s].auxiliary->has_logits();
    result.auxiliary_accuracy.push_back(scored ? static_cast<double>(auxiliary_right[s]) / static_cast<double>(count)
                                               : std::numeric_limits<double>::quiet_NaN());
  }
  return result;
}

}  // namespace bubblescope
