// Resizing as matrix products.
#include "backend/torch/resize.hpp"

#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

namespace bubblescope {
namespace {

using Matrix = at::Tensor (*)(std::int64_t from, std::int64_t to);

/// Made and copied once per thread: the host would otherwise wait for the copy in every forward.
at::Tensor on_device(Matrix matrix, std::int64_t from, std::int64_t to, const at::Tensor& like) {
  using Key = std::tuple<Matrix, std::int64_t, std::int64_t, std::string, at::ScalarType>;
  thread_local std::map<Key, at::Tensor> known;
  at::Tensor& made = known[{matrix, from, to, like.device().str(), like.scalar_type()}];
  if (!made.defined()) made = matrix(from, to).to(like.options());
  return made;
}

}  // namespace

at::Tensor pooling_matrix(std::int64_t from, std::int64_t to) {
  at::Tensor matrix = at::zeros({to, from}, at::kDouble);
  auto values = matrix.accessor<double, 2>();
  for (std::int64_t i = 0; i < to; ++i) {
    const std::int64_t first = i * from / to, last = ((i + 1) * from + to - 1) / to;
    for (std::int64_t k = first; k < last; ++k) values[i][k] = 1.0 / static_cast<double>(last - first);
  }
  return matrix;
}

at::Tensor upsampling_matrix(std::int64_t from, std::int64_t to) {
  at::Tensor matrix = at::zeros({to, from}, at::kDouble);
  auto values = matrix.accessor<double, 2>();
  for (std::int64_t i = 0; i < to; ++i) {
    const double at = to > 1 ? static_cast<double>(i) * static_cast<double>(from - 1) / static_cast<double>(to - 1) : 0;
    const auto low = static_cast<std::int64_t>(at);
    const double part = at - static_cast<double>(low);
    values[i][low] += 1 - part;
    values[i][std::min(low + 1, from - 1)] += part;
  }
  return matrix;
}

at::Tensor resize(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& columns) { return at::matmul(at::matmul(rows, x), columns.t()); }

at::Tensor average_pool(const at::Tensor& x, std::int64_t height, std::int64_t width) {
  if (x.is_cpu() || (height == 1 && width == 1)) return at::adaptive_avg_pool2d(x, {height, width});
  return resize(x, on_device(pooling_matrix, x.size(2), height, x), on_device(pooling_matrix, x.size(3), width, x));
}

at::Tensor upsample(const at::Tensor& x, std::int64_t height, std::int64_t width) {
  if (x.is_cpu()) return at::upsample_bilinear2d(x, {height, width}, /*align_corners=*/true);
  return resize(x, on_device(upsampling_matrix, x.size(2), height, x), on_device(upsampling_matrix, x.size(3), width, x));
}

}  // namespace bubblescope
