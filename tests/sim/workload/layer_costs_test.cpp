// Work, launches and kept values of layers against hand counts.
#include "sim/workload/layer_costs.hpp"

#include <gtest/gtest.h>

#include "sim/workload/layer_builder.hpp"
#include "sim/workload/models.hpp"
#include "sim/workload/partition.hpp"

namespace bubblescope {
namespace {

double flops(const std::vector<Work>& works) {
  double sum = 0;
  for (const Work& work : works) sum += work.flops;
  return sum;
}

std::int32_t launches(const std::vector<Work>& works) {
  std::int32_t sum = 0;
  for (const Work& work : works) sum += work.launches;
  return sum;
}

double elements_of(const std::vector<Work>& works) {
  double sum = 0;
  for (const Work& work : works) sum += work.elements;
  return sum;
}

Layer single_conv() {
  LayerBuilder b("layer", {3, 8, 8});
  b.conv(0, "conv", 16, 3, 2, 1);
  return b.finish();
}

// 16 x 4 x 4 outputs of 3 * 9 products each; two operations each; twice that backward.
TEST(LayerCosts, a_convolution_does_twice_its_forward_work_in_its_backward) {
  const Layer layer = single_conv();
  const PassWork work = layer_work(std::span(&layer, 1), 5, true, false);
  const double forward = 2.0 * 5 * 16 * 4 * 4 * 3 * 9;
  EXPECT_EQ(flops(work.forward), forward);
  EXPECT_EQ(flops(work.input) + flops(work.weight), 2 * forward);
  EXPECT_EQ(elements_of(work.forward), 5 * (3 * 64 + 16 * 16) + 16 * 27);
}

TEST(LayerCosts, a_first_layer_whose_input_gradient_is_not_wanted_computes_none) {
  const Layer layer = single_conv();
  const PassWork work = layer_work(std::span(&layer, 1), 5, false, false);
  EXPECT_TRUE(work.input.empty());
  EXPECT_EQ(launches(work.weight), 1);
}

// Forward: conv, norm, relu, conv, norm, add, relu. Backward: one each for input and weight of the two
// convolutions, two norms, two relus, and the sum of the two gradients of the block's input.
TEST(LayerCosts, a_residual_block_launches_seven_kernels_forward) {
  const Layer block = basic_block("block", {16, 8, 8}, 16, 1);
  const PassWork work = layer_work(std::span(&block, 1), 2, true, false);
  EXPECT_EQ(launches(work.forward), 7);
  EXPECT_EQ(launches(work.input), 2 + 2 + 2 + 1);
  EXPECT_EQ(launches(work.weight), 2);
  const PassWork first = layer_work(std::span(&block, 1), 2, false, false);
  EXPECT_EQ(launches(first.input), 2 + 2 + 2 - 1);  // no sum, and only the second convolution's
}

// Norm, qkv, attention, projection, add, norm, linear, gelu, linear, add.
TEST(LayerCosts, a_transformer_block_launches_ten_kernels_forward) {
  const Layer block = transformer_block("block", {17, 32}, 4, 0);
  EXPECT_EQ(launches(layer_work(std::span(&block, 1), 2, true, false).forward), 10);
}

// Fused attention computes scores again: five products backward for two forward.
TEST(LayerCosts, attention_does_two_and_a_half_times_its_forward_work_backward) {
  LayerBuilder b("layer", {17, 96});
  b.attention(0, 4);
  const Layer layer = b.finish();
  const PassWork work = layer_work(std::span(&layer, 1), 3, true, false);
  EXPECT_EQ(forward_macs(std::span(&layer, 1)), 2 * 17 * 17 * 32);
  EXPECT_EQ(flops(work.forward), 2.0 * 3 * 2 * 17 * 17 * 32);
  EXPECT_EQ(flops(work.input), 2.5 * flops(work.forward));
}

// 1024 elements: each convolution keeps its input, each norm its input, each relu its output; the
// last relu's output and the block's input included: input, conv1, relu1, conv2, relu2.
TEST(LayerCosts, a_residual_block_keeps_five_values) {
  const Layer block = basic_block("block", {16, 8, 8}, 16, 1);
  KeptValues kept;
  kept.add(std::span(&block, 1), kept.input());
  EXPECT_EQ(kept.elements(), 5 * 1024);
  // Two convolutions' inputs and output gradients; the norms' and the last relu's values are gone.
  EXPECT_EQ(kept.elements_until_w(), 4 * 1024);
}

// The class token and the positions get their gradients in I, as norms do.
TEST(LayerCosts, only_convolutions_and_linear_layers_leave_work_for_w) {
  LayerBuilder b("layer", {16, 24});
  b.layer_norm(b.embed(0, "tokens"), "norm");
  const Layer layer = b.finish();
  const PassWork work = layer_work(std::span(&layer, 1), 3, false, false);
  EXPECT_TRUE(work.weight.empty());
  EXPECT_EQ(work.input.size(), 2u);
}

// Blocks share the value between them.
TEST(LayerCosts, values_between_layers_are_kept_once) {
  const std::vector<Layer> blocks{basic_block("a", {16, 8, 8}, 16, 1), basic_block("b", {16, 8, 8}, 16, 1)};
  KeptValues kept;
  kept.add(blocks, kept.input());
  EXPECT_EQ(kept.elements(), 9 * 1024);
}

// 17 tokens of 32: norm keeps its input and two statistics per token; linear keeps the class token,
// a view that holds the norm's whole output.
TEST(LayerCosts, views_are_kept_as_their_base) {
  const Layer head = token_head("head", {17, 32}, 10);
  KeptValues kept;
  kept.add(std::span(&head, 1), kept.input());
  EXPECT_EQ(kept.elements(), 17 * 32 + 2 * 17 + 17 * 32);
}

// Counting every output of convolutions, norms and relus, as published: stem and blocks 3 + 6 per
// block at 16 * 32^2, then 6 per block and 2 more in the first at half and a quarter of that.
TEST(LayerCosts, activation_shares_of_the_published_splits_are_reproduced) {
  struct Figure {
    const char* name;
    std::int32_t stages;
    std::vector<double> shares;
  };
  const Figure figures[] = {{"resnet32", 2, {.702, .298}}, {"resnet32", 4, {.368, .333, .193, .105}},
                            {"resnet110", 2, {.718, .282}}, {"resnet110", 4, {.388, .315, .189, .109}}};
  for (const Figure& figure : figures) {
    ModelSpec spec;
    spec.name = figure.name;
    const LayerGraph model = build_model(spec);
    const auto count = [&](std::span<const Layer> layers) {
      double sum = 0;
      for (const Layer& layer : layers) {
        for (const Primitive& p : layer.primitives) {
          const bool counted = p.kind == PrimitiveKind::conv || p.kind == PrimitiveKind::batch_norm || p.kind == PrimitiveKind::relu;
          sum += counted ? static_cast<double>(elements(p.output)) : 0;
        }
      }
      return sum;
    };
    const auto ranges = stage_ranges(model, partition(model, figure.stages, "reference"));
    for (std::size_t s = 0; s < ranges.size(); ++s) {
      EXPECT_NEAR(count(layer_range(model, ranges[s].first, ranges[s].last)) / count(model.layers), figure.shares[s], 0.0011)
          << figure.name << " stage " << s;
    }
    // What autograd keeps is distributed the same way to within 3 % of each share.
    double total = 0;
    std::vector<double> kept;
    for (const StageRange& range : ranges) {
      KeptValues values;
      values.add(layer_range(model, range.first, range.last), values.input());
      kept.push_back(static_cast<double>(values.elements()));
      total += kept.back();
    }
    for (std::size_t s = 0; s < kept.size(); ++s) EXPECT_NEAR(kept[s] / total / figure.shares[s], 1, 0.03) << figure.name << " stage " << s;
  }
}

// 1024 images, float32: 64, 32 and 16 MiB behind 16, 32 and 64 channels; ViT-tiny of 65 tokens at
// batch 128: 65 * 192 * 4 * 128 = 6.09 MiB.
TEST(LayerCosts, boundaries_are_of_the_published_size) {
  ModelSpec spec;
  const LayerGraph model = build_model(spec);
  const double mib = 1024.0 * 1024.0;
  const auto size = [&](const Layer& layer, int batch) { return static_cast<double>(boundary_elements(layer)) * 4 * batch / mib; };
  EXPECT_EQ(size(model.layers[3], 1024), 64);
  EXPECT_EQ(size(model.layers[7], 1024), 32);
  EXPECT_EQ(size(model.layers[11], 1024), 16);
  const double expected[] = {6.1, 12.2, 24.4};
  const char* names[] = {"vit-tiny", "vit-small", "vit-base"};
  for (int i = 0; i < 3; ++i) {
    spec.name = names[i];
    EXPECT_NEAR(size(build_model(spec).layers[3], 128), expected[i], 0.05);
  }
}

}  // namespace
}  // namespace bubblescope
