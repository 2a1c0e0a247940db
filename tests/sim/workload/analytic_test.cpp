// Analytic costs against closed forms of small models.
#include "sim/workload/analytic.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "sim/core/error.hpp"
#include "sim/workload/models.hpp"

namespace bubblescope {
namespace {

/// 3 * 4 * 4 = 48 inputs, two hidden layers of 32, 10 classes: layers hidden.0, hidden.1, head.
LayerGraph small_mlp() {
  ModelSpec spec;
  spec.name = "mlp";
  spec.image = {3, 4, 4};
  spec.depth = 2;
  spec.width = 32;
  return build_model(spec);
}

/// 1 MFLOP/s, and so much bandwidth that it never matters unless asked for.
AnalyticOptions compute_bound() {
  AnalyticOptions options;
  options.device.flops = 1e6;
  options.device.memory_bandwidth = 1e18;
  return options;
}

AnalyticOptions memory_bound() {
  AnalyticOptions options;
  options.device.flops = 1e18;
  options.device.memory_bandwidth = 1e6;
  return options;
}

StageCosts costs_of(const AnalyticOptions& options, const std::vector<std::int32_t>& cuts, bool local, std::int64_t batch = 4) {
  const LayerGraph model = small_mlp();
  std::vector<AuxiliaryNetwork> auxiliaries;
  if (local) auxiliaries = build_auxiliaries(AuxiliarySpec{}, model, cuts);
  const std::int64_t sizes[] = {batch};
  return analytic_costs(model, cuts, auxiliaries, options, sizes).at(batch);
}

constexpr double kNanosPerFlop = 1000;  // at 1 MFLOP/s

// Stage 0: linear 2 * 4 * 48 * 32, relu 4 * 32. Stage 1: linear 32 * 32, relu, linear 32 * 10.
TEST(Analytic, a_compute_bound_stage_takes_its_flops_over_the_peak) {
  const StageCosts costs = costs_of(compute_bound(), {1}, true);
  const double first = 2.0 * 4 * 48 * 32;
  const double second = 2.0 * 4 * (32 * 32 + 32 * 10);
  const double relu = 4 * 32;
  EXPECT_EQ(costs.at(0, Kind::F).duration, static_cast<Nanos>((first + relu) * kNanosPerFlop));
  EXPECT_EQ(costs.at(1, Kind::F).duration, static_cast<Nanos>((second + relu) * kNanosPerFlop));
  EXPECT_EQ(costs.at(0, Kind::R).duration, costs.at(0, Kind::F).duration);
  // The weight gradients cost what the forward costs; the first stage needs no gradient of its input.
  EXPECT_EQ(costs.at(0, Kind::W).duration, static_cast<Nanos>(first * kNanosPerFlop));
  EXPECT_EQ(costs.at(0, Kind::I).duration, static_cast<Nanos>(relu * kNanosPerFlop));
  EXPECT_EQ(costs.at(1, Kind::I).duration, static_cast<Nanos>((second + relu) * kNanosPerFlop));
  EXPECT_EQ(costs.at(1, Kind::B).duration, costs.at(1, Kind::I).duration + costs.at(1, Kind::W).duration);
}

TEST(Analytic, half_the_efficiency_takes_twice_the_time) {
  AnalyticOptions options = compute_bound();
  options.efficiency = 0.5;
  EXPECT_EQ(costs_of(options, {1}, true).at(0, Kind::F).duration, 2 * costs_of(compute_bound(), {1}, true).at(0, Kind::F).duration);
}

// Linear: 4 * 48 in, 49 * 32 parameters, 4 * 32 out; relu reads and writes 4 * 32. Four bytes each.
TEST(Analytic, a_memory_bound_stage_takes_its_bytes_over_the_bandwidth) {
  const double elements = 4 * 48 + 49 * 32 + 4 * 32 + 2 * 4 * 32;
  EXPECT_EQ(costs_of(memory_bound(), {1}, true).at(0, Kind::F).duration, static_cast<Nanos>(elements * 4 * 1000));
}

// Greedy on 32 features: linear 2 * 4 * 32 * 10; its loss forward 5 * 40 + 4 operations. LB: both
// gradients of that linear, the loss's 4 + 3 * 40, and the stage's own weight gradient and relu.
TEST(Analytic, the_two_efficiencies_move_a_stage_between_time_by_work_and_time_by_activations) {
  // Each share acts where its resource binds, and there only.
  AnalyticOptions options = memory_bound();
  const Nanos memory = costs_of(options, {1}, false).at(0, Kind::F).duration;
  options.memory_efficiency = 0.5;
  EXPECT_EQ(costs_of(options, {1}, false).at(0, Kind::F).duration, 2 * memory);
  options.efficiency = 0.5;
  EXPECT_EQ(costs_of(options, {1}, false).at(0, Kind::F).duration, 2 * memory);
  options = compute_bound();
  const Nanos work = costs_of(options, {1}, false).at(0, Kind::F).duration;
  options.memory_efficiency = 0.5;
  EXPECT_EQ(costs_of(options, {1}, false).at(0, Kind::F).duration, work);
}

TEST(Analytic, local_costs_add_the_auxiliary_network) {
  const StageCosts costs = costs_of(compute_bound(), {1}, true);
  const double head = 2.0 * 4 * 32 * 10;
  EXPECT_EQ(costs.at(0, Kind::A).duration, static_cast<Nanos>((head + 5 * 40 + 4) * kNanosPerFlop));
  EXPECT_EQ(costs.at(0, Kind::LB).duration,
            static_cast<Nanos>((2 * head + 4 + 3 * 40 + 2.0 * 4 * 48 * 32 + 4 * 32) * kNanosPerFlop));
  // The last stage's A is the loss alone; no gradient of its input leaves it: linear 32 x 32 once,
  // linear 32 x 10 twice.
  EXPECT_EQ(costs.at(1, Kind::A).duration, static_cast<Nanos>((5 * 40 + 4) * kNanosPerFlop));
  EXPECT_EQ(costs.at(1, Kind::LB).duration,
            static_cast<Nanos>((4 + 3 * 40 + 2.0 * 4 * (32 * 32 + 2 * 32 * 10) + 4 * 32) * kNanosPerFlop));
}

TEST(Analytic, backpropagation_puts_the_output_loss_into_the_last_stage) {
  const StageCosts local = costs_of(compute_bound(), {1}, true);
  const StageCosts global = costs_of(compute_bound(), {1}, false);
  EXPECT_EQ(global.at(0, Kind::F), local.at(0, Kind::F));
  EXPECT_EQ(global.at(1, Kind::F).duration, local.at(1, Kind::F).duration + local.at(1, Kind::A).duration);
  EXPECT_EQ(global.at(0, Kind::A).duration, 0);
  EXPECT_EQ(global.at(0, Kind::LB).duration, 0);
}

// Stage 0 has 49 * 32 parameters in two tensors, its head 33 * 10 in two. SGD touches 14 elements per
// parameter in 5 kernels per tensor, AdamW 23 in 9.
TEST(Analytic, the_update_moves_the_optimizers_traffic) {
  AnalyticOptions options = memory_bound();
  const StageCosts sgd = costs_of(options, {1}, true);
  EXPECT_EQ(sgd.at(0, Kind::U).duration, static_cast<Nanos>((49 * 32 + 33 * 10) * 14 * 4 * 1000));
  EXPECT_EQ(sgd.at(0, Kind::U).launches, 4 * 5);
  options.optimizer = "adamw";
  const StageCosts adamw = costs_of(options, {1}, false);
  EXPECT_EQ(adamw.at(0, Kind::U).duration, 49 * 32 * 23 * 4 * 1000);
  EXPECT_EQ(adamw.at(0, Kind::U).launches, 2 * 9);
}

// Linear and relu: 2 launches forward; linear's weight and bias, relu: 3 backward. Head 1 and its
// loss 2; backward 3 and 2.
TEST(Analytic, launches_are_counted_beside_the_durations) {
  const StageCosts costs = costs_of(compute_bound(), {1}, true);
  EXPECT_EQ(costs.at(0, Kind::F).launches, 2);
  EXPECT_EQ(costs.at(0, Kind::B).launches, 3);
  EXPECT_EQ(costs.at(0, Kind::A).launches, 1 + 2);
  EXPECT_EQ(costs.at(0, Kind::LB).launches, 3 + 3 + 2);
}

// Per sample: the images' 48 (linear's input) and relu's 32; relu's output is linear's input in the
// next layer. float32, batch 4.
TEST(Analytic, bytes_follow_from_parameters_and_kept_values) {
  const StageCosts costs = costs_of(compute_bound(), {1}, true);
  const StageBytes& first = costs.bytes(0);
  EXPECT_EQ(first.weights, 49 * 32 * 4);
  EXPECT_EQ(first.gradients, 49 * 32 * 4);
  EXPECT_EQ(first.optimizer, 49 * 32 * 4);
  EXPECT_EQ(first.activations, (48 + 32) * 4 * 4);
  EXPECT_EQ(first.activations_until_w, (48 + 32) * 4 * 4);  // linear's input, and the gradient of its output
  EXPECT_EQ(first.output, 32 * 4 * 4);
  EXPECT_EQ(first.auxiliary, 33 * 10 * 3 * 4);
  EXPECT_EQ(first.auxiliary_activations, 0);  // its input is relu's output, kept already
  const StageBytes& last = costs.bytes(1);
  EXPECT_EQ(last.activations, (32 + 32) * 4 * 4);
  EXPECT_EQ(last.output, 0);
  EXPECT_EQ(last.auxiliary, 0);
}

TEST(Analytic, every_size_asked_for_is_computed) {
  const LayerGraph model = small_mlp();
  const std::int64_t sizes[] = {1, 8};
  const Costs costs = analytic_costs(model, {}, {}, compute_bound(), sizes);
  EXPECT_EQ(costs.by_size.size(), 2U);
  EXPECT_EQ(costs.at(8).at(0, Kind::F).duration, 8 * costs.at(1).at(0, Kind::F).duration);
}

TEST(Analytic, impossible_options_are_refused) {
  AnalyticOptions options = compute_bound();
  options.efficiency = 1.5;
  EXPECT_THROW(costs_of(options, {1}, true), InputError);
  // So small that times overflow, or that the rate is no number at all.
  for (const double share : {1e-300, 1e-320}) {
    options = compute_bound();
    options.efficiency = share;
    EXPECT_THROW(costs_of(options, {1}, true), InputError);
    options = compute_bound();
    options.memory_efficiency = share;
    EXPECT_THROW(costs_of(options, {1}, true), InputError);
  }
  options = compute_bound();
  options.device.flops = 0;
  EXPECT_THROW(costs_of(options, {1}, true), InputError);
  options = compute_bound();
  options.optimizer = "adam";
  EXPECT_THROW(costs_of(options, {1}, true), InputError);
  EXPECT_THROW(costs_of(compute_bound(), {1}, true, 0), InputError);
  EXPECT_THROW(costs_of(compute_bound(), {3}, true), InputError);
}

// Autocast on GPUs: convolutions and batch norms of them are short; a ViT adds short products to a residual stream that
// the learned embedding made long.
TEST(AnalyticCosts, in_mixed_precision_boundaries_are_as_long_as_what_crosses_them) {
  const auto boundary = [](const char* name, std::int64_t element_bytes) {
    ModelSpec spec;
    spec.name = name;
    const LayerGraph model = build_model(spec);
    AnalyticOptions options = compute_bound();
    options.element_bytes = element_bytes;
    const std::int32_t cuts[] = {model.size() / 2};
    const std::int64_t sizes[] = {4};
    const StageCosts costs = analytic_costs(model, cuts, {}, options, sizes).at(4);
    return std::pair{costs.bytes(0).output, costs.bytes(0).weights};
  };
  EXPECT_EQ(boundary("resnet32", 2).first * 2, boundary("resnet32", 4).first);
  EXPECT_EQ(boundary("vit-small", 2).first, boundary("vit-small", 4).first);
  EXPECT_EQ(boundary("resnet32", 2).second, boundary("resnet32", 4).second);
}

}  // namespace
}  // namespace bubblescope
