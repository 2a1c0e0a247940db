// Average pooling and bilinear upsampling. On devices whose own kernels add up gradients in no fixed order they are
// products with two small matrices, which is what both are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace bubblescope {

/// [batch, channels, h, w] -> [batch, channels, height, width]: means over the regions of adaptive average pooling,
/// [floor(i h / height), ceil((i + 1) h / height)).
at::Tensor average_pool(const at::Tensor& x, std::int64_t height, std::int64_t width);
/// Bilinear with aligned corners: output i lies at i (h - 1) / (height - 1).
at::Tensor upsample(const at::Tensor& x, std::int64_t height, std::int64_t width);

/// [to, from], float64 on the CPU: what each output takes of each input along one dimension.
at::Tensor pooling_matrix(std::int64_t from, std::int64_t to);
at::Tensor upsampling_matrix(std::int64_t from, std::int64_t to);

/// rows x columns^T for every image and channel.
at::Tensor resize(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& columns);

}  // namespace bubblescope
