// Optimizers against the published update rules, written out by hand in double precision.
#include "backend/torch/optimizer.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

constexpr int kSize = 7;

torch::Tensor start() { return torch::linspace(-1, 1, kSize, torch::kFloat64).requires_grad_(true); }
/// A made-up gradient that depends on step and place.
double gradient(int step, int i) { return std::sin(1.7 * step + 0.9 * i) + 0.1 * i; }
double rate(int step) { return 0.1 / (1 + step); }

void set_gradient(torch::Tensor& parameter, int step) {
  std::vector<double> values;
  for (int i = 0; i < kSize; ++i) values.push_back(gradient(step, i));
  parameter.mutable_grad() = torch::tensor(values, torch::kFloat64);
}

void expect_near(const torch::Tensor& actual, const std::vector<double>& expected) {
  for (int i = 0; i < kSize; ++i) EXPECT_NEAR(actual[i].item<double>(), expected[static_cast<std::size_t>(i)], 1e-15) << i;
}

/// v <- mu v + (g + wd w), the first time v = g + wd w; w <- w - lr (g + wd w + mu v) with Nesterov,
/// w - lr v without (the rule of torch.optim.SGD's documentation).
TEST(Sgd, follows_the_documented_rule_with_and_without_nesterov) {
  for (const bool nesterov : {false, true}) {
    const double mu = 0.9, wd = 0.01;
    torch::Tensor w = start();
    StageOptimizer optimizer({.name = "sgd", .momentum = mu, .nesterov = nesterov, .weight_decay = wd}, {{"w", w}});
    std::vector<double> expected(kSize), v(kSize);
    for (int i = 0; i < kSize; ++i) expected[static_cast<std::size_t>(i)] = w[i].item<double>();
    for (int step = 0; step < 6; ++step) {
      set_gradient(w, step);
      optimizer.step(rate(step));
      for (int i = 0; i < kSize; ++i) {
        const auto k = static_cast<std::size_t>(i);
        const double g = gradient(step, i) + wd * expected[k];
        v[k] = step == 0 ? g : mu * v[k] + g;
        expected[k] -= rate(step) * (nesterov ? g + mu * v[k] : v[k]);
      }
      expect_near(w, expected);
      EXPECT_FALSE(w.grad().defined());
    }
  }
}

/// Loshchilov & Hutter 2019, algorithm 2, as torch.optim.AdamW documents it: w <- w (1 - lr wd), then
/// Adam with bias-corrected moments.
TEST(AdamW, follows_the_published_rule) {
  const double b1 = 0.9, b2 = 0.999, eps = 1e-8, wd = 0.05;
  torch::Tensor w = start();
  StageOptimizer optimizer({.name = "adamw", .weight_decay = wd}, {{"w", w}});
  std::vector<double> expected(kSize), m(kSize), s(kSize);
  for (int i = 0; i < kSize; ++i) expected[static_cast<std::size_t>(i)] = w[i].item<double>();
  for (int step = 0; step < 6; ++step) {
    set_gradient(w, step);
    optimizer.step(rate(step));
    for (int i = 0; i < kSize; ++i) {
      const auto k = static_cast<std::size_t>(i);
      const double g = gradient(step, i);
      expected[k] *= 1 - rate(step) * wd;
      m[k] = b1 * m[k] + (1 - b1) * g;
      s[k] = b2 * s[k] + (1 - b2) * g * g;
      const double mean = m[k] / (1 - std::pow(b1, step + 1)), square = s[k] / (1 - std::pow(b2, step + 1));
      expected[k] -= rate(step) * mean / (std::sqrt(square) + eps);
    }
    expect_near(w, expected);
  }
}

TEST(StageOptimizer, state_put_into_a_new_one_goes_on_bit_identically) {
  for (const char* name : {"sgd", "adamw"}) {
    torch::Tensor a = start(), b = start();
    StageOptimizer first({.name = name}, {{"w", a}});
    for (int step = 0; step < 3; ++step) {
      set_gradient(a, step);
      first.step(rate(step));
    }
    StageOptimizer second({.name = name}, {{"w", b}});
    b.detach().copy_(a.detach());
    second.load(first.state());
    EXPECT_GT(first.state_bytes(), 0);
    for (int step = 3; step < 6; ++step) {
      set_gradient(a, step);
      set_gradient(b, step);
      first.step(rate(step));
      second.step(rate(step));
    }
    EXPECT_TRUE(a.equal(b)) << name;
  }
}

TEST(StageOptimizer, refuses_state_of_another_shape) {
  torch::Tensor a = start(), b = torch::zeros(3, torch::kFloat64).requires_grad_(true);
  StageOptimizer first({}, {{"w", a}}), second({}, {{"w", b}});
  set_gradient(a, 0);
  first.step(0.1);
  EXPECT_THROW(second.load(first.state()), InputError);
}

TEST(StageOptimizer, refuses_unknown_names_and_nesterov_without_momentum) {
  EXPECT_THROW(StageOptimizer({.name = "sgdd"}, {}), InputError);
  EXPECT_THROW(StageOptimizer({.momentum = 0, .nesterov = true}, {}), InputError);
}

TEST(StageOptimizer, leaves_used_gradients_in_place_as_zeros_where_it_is_asked_to) {
  torch::Tensor a = start(), b = start();
  StageOptimizer dropping({}, {{"w", a}}), zeroing({}, {{"w", b}});
  set_gradient(b, 0);
  const torch::Tensor place = b.grad();
  for (int step = 0; step < 3; ++step) {
    set_gradient(a, step);
    b.mutable_grad().add_(a.grad() - b.grad());
    dropping.step(rate(step));
    zeroing.step(rate(step), Used::zeroed);
    EXPECT_FALSE(a.grad().defined());
    EXPECT_EQ(b.grad().data_ptr(), place.data_ptr());
    EXPECT_EQ(b.grad().abs().sum().item<double>(), 0);
  }
  EXPECT_LT((a - b).abs().max().item<double>(), 1e-15);
}

// Gradients (3, 4) and (12): norm 13.
TEST(StageOptimizer, clips_to_the_global_norm_and_leaves_smaller_gradients_alone) {
  torch::Tensor a = torch::zeros(2, torch::kFloat64).requires_grad_(true), b = torch::zeros(1, torch::kFloat64).requires_grad_(true);
  StageOptimizer optimizer({}, {{"a", a}, {"b", b}});
  a.mutable_grad() = torch::tensor({3.0, 4.0}, torch::kFloat64);
  b.mutable_grad() = torch::tensor({12.0}, torch::kFloat64);
  const torch::Tensor squared = optimizer.squared_norm();
  EXPECT_DOUBLE_EQ(squared.item<double>(), 169);
  optimizer.clip(squared, 20);
  EXPECT_EQ(b.grad().item<double>(), 12);
  optimizer.clip(squared, 1.3);
  EXPECT_NEAR(a.grad()[1].item<double>(), 4 * 1.3 / (13 + 1e-6), 1e-15);
  EXPECT_NEAR(b.grad().item<double>(), 12 * 1.3 / (13 + 1e-6), 1e-15);
}

}  // namespace
}  // namespace bubblescope
