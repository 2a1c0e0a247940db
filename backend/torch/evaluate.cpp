// Evaluation of the whole chained model on the test part.
#include <cmath>
#include <limits>
#include <mutex>

#include "backend/torch/batches.hpp"
#include "backend/torch/device.hpp"
#include "backend/torch/training.hpp"
#include "sim/core/error.hpp"

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

}  // namespace

Evaluation evaluate(Ranks& ranks, const TorchConfig& config) {
  std::vector<TorchDevice::StageView> stages(config.cuts.size() + 1);
  std::mutex mutex;
  ranks.each([&](Rank, Device& device) {
    const std::lock_guard lock(mutex);
    for (const auto& view : dynamic_cast<TorchDevice&>(device).stages()) {
      if (view.chain == 0) stages[static_cast<std::size_t>(view.position)] = view;
    }
  });

  const DataSet& set = *config.data;
  const std::int64_t count = set.test.count();
  const auto dtype = config.precision == "float64" ? torch::kFloat64 : torch::kFloat32;
  std::vector<Score> scores(static_cast<std::size_t>((count + kSamples - 1) / kSamples));
  ranks.each([&](Rank rank, Device&) {
    const torch::NoGradGuard no_grad;
    std::vector<TorchDevice::StageView> mine = stages;
    const torch::Device where = mine.front().module->parameters().front().tensor.device();
    for (auto b = static_cast<std::size_t>(rank); b < scores.size(); b += static_cast<std::size_t>(ranks.count())) {
      const auto first = static_cast<std::int64_t>(b) * kSamples;
      scores[b] = score(test_batch(set, first, std::min(first + kSamples, count), dtype, where), mine);
    }
  });

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
