// Resizing by matrices against LibTorch's own pooling and upsampling.
#include "backend/torch/resize.hpp"

#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <gtest/gtest.h>

#include <utility>

namespace bubblescope {
namespace {

double difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

TEST(Resize, by_matrices_pools_as_adaptive_average_pooling_does) {
  const at::Tensor x = at::randn({2, 3, 12, 7}, at::kDouble);
  for (const auto& [height, width] : {std::pair{4, 7}, {5, 3}, {1, 2}, {12, 7}}) {
    const at::Tensor ours = resize(x, pooling_matrix(12, height), pooling_matrix(7, width));
    EXPECT_LT(difference(ours, at::adaptive_avg_pool2d(x, {height, width})), 1e-14) << height << " x " << width;
  }
}

TEST(Resize, by_matrices_upsamples_as_the_bilinear_kernel_does) {
  const at::Tensor x = at::randn({2, 3, 5, 4}, at::kDouble);
  for (const auto& [height, width] : {std::pair{10, 8}, {9, 13}, {5, 4}, {1, 4}}) {
    const at::Tensor ours = resize(x, upsampling_matrix(5, height), upsampling_matrix(4, width));
    EXPECT_LT(difference(ours, at::upsample_bilinear2d(x, {height, width}, true)), 1e-14) << height << " x " << width;
  }
}

}  // namespace
}  // namespace bubblescope
