// Losses of local learning against hand-computed values.
#include "backend/torch/losses.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

// Unit vectors (1,0), (1,0), (0,1), classes 0 0 1. Samples 0 and 1 see scores 1/t for each other and 0
// for sample 2: each loses log(1 + exp(-1/t)). Sample 2 has no other of its class and adds zero.
TEST(ContrastiveLoss, is_that_of_the_softmax_over_the_other_samples) {
  const auto features = torch::tensor({{2.0, 0.0}, {5.0, 0.0}, {0.0, 3.0}}, torch::kFloat64);
  const double expected = 2 * std::log1p(std::exp(-1 / 0.07)) / 3;
  EXPECT_NEAR(contrastive_loss(features, torch::tensor({0, 0, 1})).item<double>(), expected, 1e-15);
}

// Orthogonal samples of classes 0 0 1 1: three equal scores each, one positive: log 3.
TEST(ContrastiveLoss, of_orthogonal_samples_is_the_logarithm_of_the_others) {
  const auto features = torch::eye(4, torch::kFloat64);
  EXPECT_NEAR(contrastive_loss(features, torch::tensor({0, 0, 1, 1})).item<double>(), std::log(3.0), 1e-12);
}

TEST(ContrastiveLoss, has_finite_gradients) {
  const auto features = torch::eye(4, torch::kFloat64).requires_grad_();
  contrastive_loss(features, torch::tensor({0, 0, 1, 2})).backward();
  EXPECT_TRUE(features.grad().isfinite().all().item<bool>());
}

TEST(ContrastiveLoss, of_one_sample_is_refused) {
  EXPECT_THROW(contrastive_loss(torch::ones({1, 2}), torch::tensor({0})), RunError);
}

// Centred one-hot rows of two classes are (1,-1)/2 and (-1,1)/2: similarity 1 within a class, -1
// between. Rows (1,0) and (0,1) have the same similarities; equal rows differ from them by 2 in two of
// the four pairs.
TEST(SimilarityLoss, compares_cosines_of_centred_rows) {
  const auto labels = torch::tensor({0, 1});
  const auto apart = torch::tensor({{1.0, 0.0}, {0.0, 1.0}}, torch::kFloat64);
  const auto equal = torch::tensor({{1.0, 0.0}, {1.0, 0.0}}, torch::kFloat64);
  EXPECT_NEAR(similarity_loss(apart, labels, 2).item<double>(), 0, 1e-12);
  EXPECT_NEAR(similarity_loss(equal, labels, 2).item<double>(), 2 * 4 / 4.0, 1e-6);
}

// Maps are compared by their deviation over space: a map and the same map mirrored are alike.
TEST(SimilarityLoss, of_maps_looks_at_their_deviation_over_space) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(1);
  const auto map = torch::randn({1, 5, 3, 3}, generator, torch::kFloat64);
  const auto pair = torch::cat({map, map.flip({2, 3})}, 0);
  EXPECT_NEAR(similarity_loss(pair, torch::tensor({0, 0}), 2).item<double>(), 0, 1e-9);
}

}  // namespace
}  // namespace bubblescope
