// Losses of local learning, each the mean over the batch.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace bubblescope {

/// Supervised contrastive loss of one view per sample at temperature 0.07 (Khosla et al. 2020, eq. 2
/// with the mean over positives outside the logarithm). `features` [batch, f] are normalised here; a
/// sample without another of its class adds zero. Throws RunError for fewer than two samples.
torch::Tensor contrastive_loss(const torch::Tensor& features, const torch::Tensor& labels);

/// Mean squared difference between the adjusted cosine similarities of all pairs of samples and those
/// of their one-hot labels (Nokland and Eidnes 2019). Maps [batch, c, h, w] of more than three
/// channels and one row are compared by their standard deviations over space.
torch::Tensor similarity_loss(const torch::Tensor& features, const torch::Tensor& labels, std::int64_t classes);

}  // namespace bubblescope
