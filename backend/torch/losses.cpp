// Losses of local learning; see losses.hpp.
#include "backend/torch/losses.hpp"

#include <limits>

#include "sim/core/error.hpp"

namespace bubblescope {

namespace {

/// Cosine similarities of all pairs of rows, each row first centred.
torch::Tensor similarities(const torch::Tensor& rows) {
  const auto centred = rows - rows.mean(1, /*keepdim=*/true);
  const auto unit = centred / (1e-8 + centred.square().sum(1, /*keepdim=*/true).sqrt());
  return unit.matmul(unit.t()).clamp(-1, 1);
}

}  // namespace

torch::Tensor contrastive_loss(const torch::Tensor& features, const torch::Tensor& labels) {
  constexpr double kTemperature = 0.07;
  const std::int64_t batch = features.size(0);
  if (batch < 2) throw RunError("the contrastive loss compares samples; expected microbatches of at least 2");
  const auto unit = features / features.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
  const auto scores = unit.matmul(unit.t()) / kTemperature;
  const auto self = torch::eye(batch, labels.options().dtype(torch::kBool));
  const auto others = scores.masked_fill(self, -std::numeric_limits<double>::infinity());
  const auto log_probability = scores - others.logsumexp({1}, /*keepdim=*/true);
  const auto positive = labels.unsqueeze(0).eq(labels.unsqueeze(1)).logical_and(self.logical_not()).to(scores.scalar_type());
  const auto per_sample = (positive * log_probability).sum(1) / positive.sum(1).clamp_min(1);
  return -per_sample.mean();
}

torch::Tensor similarity_loss(const torch::Tensor& features, const torch::Tensor& labels, std::int64_t classes) {
  auto rows = features;
  if (rows.dim() == 4 && rows.size(1) > 3 && rows.size(2) > 1) {
    rows = rows.flatten(2).std(2);
  } else {
    rows = rows.flatten(1);
  }
  const auto wanted = similarities(torch::one_hot(labels, classes).to(features.scalar_type()));
  return at::mse_loss(similarities(rows), wanted);
}

}  // namespace bubblescope
