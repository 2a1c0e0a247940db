// Auxiliary networks: parameters and multiply-adds against published and hand-computed figures.
#include "sim/workload/auxiliary.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "sim/core/error.hpp"
#include "sim/workload/layer_costs.hpp"
#include "sim/workload/models.hpp"
#include "sim/workload/partition.hpp"

namespace bubblescope {
namespace {

LayerGraph model(const std::string& name) {
  ModelSpec spec;
  spec.name = name;
  return build_model(spec);
}

AuxiliarySpec spec(const std::string& name, std::int64_t blocks = 0) {
  AuxiliarySpec result;
  result.name = name;
  result.blocks = blocks;
  return result;
}

/// Without the pyramidal rule, as the published figures for fixed depths are.
AuxiliarySpec auglocal(std::int64_t depth) {
  AuxiliarySpec result = spec("auglocal", depth);
  result.weights["pyramid"] = 0;
  return result;
}

/// Multiply-adds of the auxiliary network over those of its module, for the three local modules of
/// the published split into four.
std::vector<double> ratios(const std::string& name, const AuxiliarySpec& auxiliary) {
  const LayerGraph graph = model(name);
  const auto cuts = partition(graph, 4, "reference");
  const auto ranges = stage_ranges(graph, cuts);
  const auto networks = build_auxiliaries(auxiliary, graph, cuts);
  std::vector<double> result;
  for (std::size_t s = 0; s < 3; ++s) {
    result.push_back(static_cast<double>(forward_macs(networks[s])) /
                     static_cast<double>(forward_macs(layer_range(graph, ranges[s].first, ranges[s].last))));
  }
  return result;
}

void expect_ratios(const std::string& name, const AuxiliarySpec& auxiliary, const std::vector<double>& expected,
                   double precision = 0.0005) {
  const auto actual = ratios(name, auxiliary);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], precision) << name << ", " << auxiliary.name << ", module " << i + 1;
  }
}

std::string error_of(const AuxiliarySpec& auxiliary, const LayerGraph& graph, std::int32_t cut = 1) {
  try {
    build_auxiliary(auxiliary, graph, cut, 0, 2);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

/// Parameters on 16, 32 and 64 channels of ResNet-32.
std::array<std::int64_t, 3> parameters(const AuxiliarySpec& auxiliary) {
  const LayerGraph graph = model("resnet32");
  return {parameter_count(build_auxiliary(auxiliary, graph, 4, 0, 4)), parameter_count(build_auxiliary(auxiliary, graph, 8, 1, 4)),
          parameter_count(build_auxiliary(auxiliary, graph, 12, 2, 4))};
}

TEST(Auxiliary, greedy_is_one_linear_layer_on_pooled_features) {
  EXPECT_EQ(parameters(spec("greedy")), (std::array<std::int64_t, 3>{170, 330, 650}));
  expect_ratios("resnet32", spec("greedy"), {0, 0, 0});
}

// c channels: 3 (c^2 + 2c) for the convolutions, f = 4c: h hidden layers f^2 (+ f with bias) + 2f,
// head 10 f + 10.
TEST(Auxiliary, dgl_has_three_convolutions_and_three_hidden_layers_with_bias) {
  const auto expected = [](std::int64_t c) {
    const std::int64_t f = 4 * c;
    return 3 * (c * c + 2 * c) + 3 * (f * f + f + 2 * f) + 10 * f + 10;
  };
  EXPECT_EQ(parameters(spec("dgl")), (std::array<std::int64_t, 3>{expected(16), expected(32), expected(64)}));
  // 16 channels of 32 x 32 are pooled to 8 x 8 before the convolutions.
  EXPECT_EQ(forward_macs(build_auxiliary(spec("dgl"), model("resnet32"), 4, 0, 4)), 3 * 16 * 16 * 64 + 3 * 64 * 64 + 640);
}

TEST(Auxiliary, dgl_mlp_is_dgl_without_convolutions) {
  const auto with = parameters(spec("dgl"));
  const auto without = parameters(spec("dgl-mlp"));
  EXPECT_EQ(with[0] - without[0], 3 * (16 * 16 + 32));
  EXPECT_EQ(with[2] - without[2], 3 * (64 * 64 + 128));
}

TEST(Auxiliary, dgl_cnn_has_two_full_size_convolutions_and_a_norm_before_the_head) {
  EXPECT_EQ(parameters(spec("dgl-cnn"))[0], 2 * (9 * 16 * 16 + 32) + 32 + 64 * 10 + 10);
  const LayerGraph graph = model("resnet32");
  EXPECT_EQ(forward_macs(build_auxiliary(spec("dgl-cnn"), graph, 4, 0, 4)), 2 * 9 * 16 * 16 * 1024 + 640);
}

// AugLocal's re-implementation has 10.0 k, 37.8 k and 147 k parameters: two hidden layers, no bias.
TEST(Auxiliary, dgl_of_auglocal_has_10_38_and_147_thousand_parameters) {
  EXPECT_EQ(parameters(spec("dgl-auglocal")), (std::array<std::int64_t, 3>{9'962, 37'834, 147'338}));
  expect_ratios("resnet32", spec("dgl-auglocal"), {.004, .005, .010});
  expect_ratios("resnet110", spec("dgl-auglocal"), {.001, .001, .003});
}

TEST(Auxiliary, dgl_of_man_has_0_635_to_0_641_million_parameters) {
  EXPECT_EQ(parameters(spec("dgl-man")), (std::array<std::int64_t, 3>{635'146, 637'194, 641'290}));
  expect_ratios("resnet32", spec("dgl-man"), {.193, .166, .180});
  expect_ratios("resnet110", spec("dgl-man"), {.049, .045, .049});
}

/// Only the head or only the decoder of InfoPro, over the module.
void expect_branch_ratios(const std::string& name, std::size_t branch, const std::vector<double>& expected) {
  const LayerGraph graph = model(name);
  const auto cuts = partition(graph, 4, "reference");
  const auto ranges = stage_ranges(graph, cuts);
  const auto networks = build_auxiliaries(spec("infopro"), graph, cuts);
  for (std::size_t s = 0; s < 3; ++s) {
    const double module = static_cast<double>(forward_macs(layer_range(graph, ranges[s].first, ranges[s].last)));
    EXPECT_NEAR(static_cast<double>(forward_macs(networks[s].branches[branch].graph.layers)) / module, expected[s], 0.0006)
        << name << ", branch " << branch << ", module " << s + 1;
  }
}

TEST(Auxiliary, infopro_head_and_decoder_cost_what_is_published) {
  expect_branch_ratios("resnet32", 0, {.081, .067, .133});
  expect_branch_ratios("resnet32", 1, {.144, .217, .416});
  expect_branch_ratios("resnet110", 0, {.021, .018, .036});
  expect_branch_ratios("resnet110", 1, {.037, .060, .114});
}

// 16 channels: 9*16*32 + 64, 32*128 + 128, 128*10 + 10; decoder 9*16*12 + 12 + 24, 9*12*3 + 3.
TEST(Auxiliary, infopro_parameters_follow_from_its_layers) {
  const std::int64_t decoder = 9 * 16 * 12 + 12 + 24 + 9 * 12 * 3 + 3;
  EXPECT_EQ(parameters(spec("infopro"))[0], 9 * 16 * 32 + 64 + 33 * 128 + 129 * 10 + decoder);
  EXPECT_EQ(parameters(spec("infopro-2c2f"))[0] - parameters(spec("infopro"))[0], 9 * 32 * 32 + 64);
  EXPECT_EQ(parameters(spec("infopro-contrast"))[0] - parameters(spec("infopro"))[0], 129 * 118);
}

TEST(Auxiliary, infopro_weights_go_linearly_from_the_first_to_the_last_local_module) {
  AuxiliarySpec auxiliary = spec("infopro");
  auxiliary.weights = {{"reconstruction_first", 8}, {"reconstruction_last", 2}, {"task_first", 0}, {"task_last", 3}};
  const LayerGraph graph = model("resnet32");
  const double task[] = {0, 1.5, 3};
  const double reconstruction[] = {8, 5, 2};
  for (std::int32_t stage = 0; stage < 3; ++stage) {
    const AuxiliaryNetwork network = build_auxiliary(auxiliary, graph, 4 + 4 * stage, stage, 4);
    EXPECT_EQ(network.branches[0].weight, task[stage]);
    EXPECT_EQ(network.branches[0].loss, LossKind::cross_entropy);
    EXPECT_EQ(network.branches[1].weight, reconstruction[stage]);
    EXPECT_EQ(network.branches[1].loss, LossKind::reconstruction);
  }
  // A single local module takes the first weights.
  EXPECT_EQ(build_auxiliary(auxiliary, graph, 4, 0, 2).branches[1].weight, 8);
}

// InfoPro's command file, CIFAR-10, ResNet-32 in four modules: 6 -> 1 and 0 -> 2.
TEST(Auxiliary, infopro_defaults_to_its_published_weights) {
  const LayerGraph graph = model("resnet32");
  EXPECT_EQ(build_auxiliary(spec("infopro"), graph, 4, 0, 4).branches[1].weight, 6);
  EXPECT_EQ(build_auxiliary(spec("infopro"), graph, 4, 0, 4).branches[0].weight, 0);
  EXPECT_EQ(build_auxiliary(spec("infopro"), graph, 12, 2, 4).branches[1].weight, 1);
  EXPECT_EQ(build_auxiliary(spec("infopro"), graph, 12, 2, 4).branches[0].weight, 2);
}

// At the cuts after layers 3, 7 and 11 of 16; a block 16 -> 64 at stride 2 costs 12.06 M, 16 -> 32 or
// 32 -> 64 costs 3.67 M, a plain one 4.72 M; modules cost 14.60, 17.83 and 17.83 M.
TEST(Auxiliary, auglocal_costs_what_is_published_for_depths_one_to_three) {
  expect_ratios("resnet32", auglocal(1), {.83, .21, .27}, 0.006);
  expect_ratios("resnet32", auglocal(2), {.50, .47, .53}, 0.006);
  expect_ratios("resnet32", auglocal(3), {.83, .74, .79}, 0.006);
  expect_ratios("resnet110", auglocal(1), {.21, .06, .07}, 0.006);
  expect_ratios("resnet110", auglocal(2), {.13, .13, .15}, 0.006);
  expect_ratios("resnet110", auglocal(3), {.21, .20, .22}, 0.006);
}

// Layers 3 + 12/3 i = 7, 11, 15 of ResNet-32 have 32, 64 and 64 channels.
TEST(Auxiliary, auglocal_samples_layers_evenly_up_to_the_last_block) {
  const AuxiliaryNetwork network = build_auxiliary(auglocal(3), model("resnet32"), 4, 0, 4);
  const auto& layers = network.branches[0].graph.layers;
  ASSERT_EQ(layers.size(), 4U);
  EXPECT_EQ(layers[0].output, (Shape{32, 16, 16}));
  EXPECT_EQ(layers[1].output, (Shape{64, 8, 8}));
  EXPECT_EQ(layers[2].output, (Shape{64, 8, 8}));
  EXPECT_EQ(layers[3].output, (Shape{10}));
}

// Depth 6, tau 0.5, five stages: ratios 0, 1/3, 2/3, 1 give 6, 6*5/6 + 1/6 = 5.17, 6*4/6 + 2/6 = 4.33
// and 3.5, which rounds half to even.
TEST(Auxiliary, auglocal_gets_shallower_towards_the_output) {
  const LayerGraph graph = model("resnet110");
  const std::size_t depths[] = {6, 5, 4, 4};
  for (std::int32_t stage = 0; stage < 4; ++stage) {
    const AuxiliaryNetwork network = build_auxiliary(spec("auglocal", 6), graph, 10 * (stage + 1), stage, 5);
    EXPECT_EQ(network.branches[0].graph.layers.size(), depths[stage] + 1) << stage;
  }
}

// The last of four stages' local modules at depth 4, tau 0.5: 4 * 0.5 + 0.5 = 2.5, rounded to even.
TEST(Auxiliary, auglocal_rounds_half_depths_to_even) {
  const AuxiliaryNetwork network = build_auxiliary(spec("auglocal", 4), model("resnet110"), 20, 2, 4);
  EXPECT_EQ(network.branches[0].graph.layers.size(), 2U + 1);
}

// 64 * 10 + 10 parameters in the head, and 2 * 64 of a norm.
TEST(Auxiliary, auglocal_has_a_norm_before_the_head_at_depth_one_alone) {
  const auto head = [](std::int64_t depth) {
    const AuxiliaryNetwork network = build_auxiliary(auglocal(depth), model("resnet32"), 4, 0, 4);
    return parameter_count(std::span(&network.branches[0].graph.layers.back(), 1));
  };
  EXPECT_EQ(head(1), 650 + 128);
  EXPECT_EQ(head(2), 650);
}

TEST(Auxiliary, auglocal_takes_all_later_blocks_where_fewer_than_its_depth_are_left) {
  const AuxiliaryNetwork network = build_auxiliary(auglocal(5), model("resnet32"), 14, 0, 2);
  EXPECT_EQ(network.branches[0].graph.layers.size(), 3U);  // blocks 14 and 15, head
}

// 16 channels at 32 x 32: 16384 features, halved in turn to 8 x 8 x 16 = 1024.
TEST(Auxiliary, predsim_pools_to_at_most_1024_features) {
  const AuxiliaryNetwork network = build_auxiliary(spec("predsim"), model("resnet32"), 4, 0, 4);
  EXPECT_EQ(parameter_count(network), 1024 * 10 + 10 + 9 * 16 * 16);
  EXPECT_EQ(network.branches[0].weight, 0.01);
  EXPECT_EQ(network.branches[1].weight, 0.99);
  EXPECT_EQ(network.branches[1].loss, LossKind::similarity);
}

// ResNet cut in its first group: one block each for 32 and 64 channels.
TEST(Auxiliary, glcan_has_one_block_for_every_later_group) {
  const LayerGraph graph = model("resnet32");
  EXPECT_EQ(build_auxiliary(spec("glcan"), graph, 4, 0, 4).branches[0].graph.layers.size(), 3U);
  EXPECT_EQ(build_auxiliary(spec("glcan"), graph, 8, 1, 4).branches[0].graph.layers.size(), 2U);
  EXPECT_EQ(build_auxiliary(spec("glcan"), graph, 12, 2, 4).branches[0].graph.layers.size(), 1U);
}

// Norm 2d, linear 10 d + 10; a block of ViT-tiny has 444,864 parameters.
TEST(Auxiliary, vit_heads_are_norm_class_token_and_linear_after_extra_blocks) {
  const LayerGraph graph = model("vit-tiny");
  EXPECT_EQ(parameter_count(build_auxiliary(spec("greedy"), graph, 4, 0, 4)), 2 * 192 + 1930);
  EXPECT_EQ(parameter_count(build_auxiliary(spec("greedy", 2), graph, 4, 0, 4)), 2 * 444'864 + 2 * 192 + 1930);
  EXPECT_EQ(parameter_count(build_auxiliary(auglocal(1), graph, 4, 0, 4)), 444'864 + 2 * 192 + 1930);
}

TEST(Auxiliary, the_last_stage_has_a_loss_and_no_parameters) {
  const LayerGraph graph = model("resnet32");
  const auto networks = build_auxiliaries(spec("greedy"), graph, partition(graph, 2, "reference"));
  ASSERT_EQ(networks.size(), 2U);
  EXPECT_EQ(parameter_count(networks[1]), 0);
  EXPECT_EQ(networks[1].branches[0].loss, LossKind::cross_entropy);
  EXPECT_TRUE(networks[1].branches[0].graph.layers.empty());
}

TEST(Auxiliary, mistakes_are_refused_with_what_was_expected) {
  const LayerGraph resnet = model("resnet32");
  const LayerGraph vit = model("vit-tiny");
  EXPECT_NE(error_of(spec("infopo"), resnet).find("did you mean 'infopro'?"), std::string::npos);
  EXPECT_NE(error_of(spec("dgl"), vit).find("convolutional features"), std::string::npos);
  EXPECT_NE(error_of(spec("greedy", 1), resnet).find("no extra blocks"), std::string::npos);
  EXPECT_NE(error_of(spec("greedy", -1), vit).find("expected 0 to 1024"), std::string::npos);
  AuxiliarySpec weighted = spec("infopro");
  weighted.weights["task_frist"] = 1;
  EXPECT_NE(error_of(weighted, resnet).find("did you mean 'task_first'?"), std::string::npos) << error_of(weighted, resnet);
  weighted.weights = {{"task_first", -1}};
  EXPECT_NE(error_of(weighted, resnet).find("expected 0 or more"), std::string::npos);
  EXPECT_NE(error_of(spec("greedy"), resnet, 17).find("expected a cut"), std::string::npos);
}

}  // namespace
}  // namespace bubblescope
