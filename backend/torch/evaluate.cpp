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

/// What evaluation needs of a device's state, as bytes.
std::string model_bytes(const TorchDevice& device) {
  std::map<std::string, torch::Tensor> state = device.state();
  std::erase_if(state, [](const auto& entry) { return !entry.first.starts_with("model.") && !entry.first.starts_with("auxiliary."); });
  return tensors_to_bytes(state);
}

/// The stages of the first chain. Of those of other processes there are copies, made for this where the first rank of this
/// process computes, and on its thread: what it throws is everybody's failure, and its stream is the one that is current.
class WholeModel {
 public:
  WholeModel(Ranks& ranks, const TorchConfig& config) : stages_(config.cuts.size() + 1) {
    std::vector<std::string> states(static_cast<std::size_t>(ranks.own().count()));
    std::mutex mutex;
    ranks.each([&](Rank rank, Device& device) {
      auto& own = dynamic_cast<TorchDevice&>(device);
      if (ranks.world() != nullptr) states[static_cast<std::size_t>(rank - ranks.own().first)] = model_bytes(own);
      const std::lock_guard lock(mutex);
      for (const auto& view : own.stages()) {
        if (view.chain == 0) stages_[static_cast<std::size_t>(view.position)] = view;
      }
    });
    if (ranks.world() != nullptr) complete(ranks, states);
  }

  const std::vector<TorchDevice::StageView>& stages() const { return stages_; }

 private:
  /// `states`: of the ranks of this process.
  void complete(Ranks& ranks, const std::vector<std::string>& states) {
    FieldsOut mine;
    for (const std::string& state : states) mine.add(state);
    const std::vector<std::string> all = ranks.world()->gather_all(mine.take());
    const bool local = ranks.any(stages_.front().auxiliary != nullptr);
    ranks.each([&](Rank rank, Device& device) {
      if (rank == ranks.own().first) copy_others(dynamic_cast<TorchDevice&>(device), all, states.size(), local);
    });
  }

  /// `all`: by process the states of its `each` ranks. `local`: stages have losses of their own.
  void copy_others(const TorchDevice& device, const std::vector<std::string>& all, std::size_t each, bool local) {
    std::map<std::string, torch::Tensor> tensors;
    for (const std::string& of_process : all) {
      FieldsIn fields(of_process);
      for (std::size_t r = 0; r < each; ++r) tensors.merge(named_tensors_from_bytes(fields.get<std::string>()));
    }
    const TorchShared& shared = device.shared();
    const std::vector<StageRange> ranges = stage_ranges(shared.graph, shared.config.cuts);
    const auto copy = [&tensors](const std::string& prefix, const std::vector<NamedTensor>& to) {
      const torch::NoGradGuard no_grad;
      for (const NamedTensor& t : to) t.tensor.detach().copy_(tensors.at(prefix + t.name));
    };
    const ModuleOptions options{.dtype = shared.dtype, .device = device.where(), .seed = shared.config.seed, .autocast = shared.autocast};
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      if (stages_[s].module != nullptr) continue;
      TorchDevice::StageView& view = stages_[s];
      view.position = static_cast<std::int32_t>(s);
      view.module = modules_.emplace_back(std::make_unique<StageModule>(shared.graph, ranges[s].first, ranges[s].last, options)).get();
      copy("model.", view.module->parameters());
      copy("model.", view.module->buffers());
      if (!local || s + 1 == stages_.size()) continue;
      view.auxiliary = auxiliaries_.emplace_back(std::make_unique<AuxiliaryModule>(shared.auxiliaries[s], view.position, options)).get();
      const std::string prefix = fmt::format("auxiliary.{}.", s);
      copy(prefix, view.auxiliary->parameters());
      copy(prefix, view.auxiliary->buffers());
    }
    // The ranks read them on streams of their own.
    if (!device.where().is_cpu()) c10::impl::VirtualGuardImpl(device.where().type()).synchronizeDevice(device.where().index());
  }

  std::vector<TorchDevice::StageView> stages_;
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
