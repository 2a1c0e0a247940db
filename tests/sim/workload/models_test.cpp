// Models: shapes, parameters and multiply-adds against published and hand-computed figures.
#include "sim/workload/models.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "sim/core/error.hpp"
#include "sim/workload/layer_costs.hpp"

namespace bubblescope {
namespace {

ModelSpec named(const std::string& name) {
  ModelSpec spec;
  spec.name = name;
  return spec;
}

std::string error_of(const ModelSpec& spec) {
  try {
    build_model(spec);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

// ResNet-32: stem 442,368; layer1 10 convolutions of 9*16*16*1024 = 2,359,296; layers 2 and 3 each
// one of half that, nine of it and a 1x1 shortcut of 16*32*256 = 131,072; head 640.
TEST(Models, resnet32_needs_69_12_million_multiply_adds_per_image) {
  const LayerGraph model = build_model(named("resnet32"));
  EXPECT_EQ(forward_macs(model.layers), 442'368 + 23'592'960 + 2 * (1'179'648 + 21'233'664 + 131'072) + 640);
  EXPECT_EQ(forward_macs(model.layers), 69'124'736);
}

// He et al. 2015, table 6 gives 0.27, 0.46, 0.66, 0.85, 1.7 and 19.4 million for shortcuts without
// parameters; the 1x1 convolutions with batch norm add 16*32 + 64 + 32*64 + 128 = 2,752.
TEST(Models, resnet_parameters_are_those_of_the_paper_and_two_shortcuts) {
  EXPECT_NEAR(parameter_count(build_model(named("resnet20")).layers) - 2752, 0.27e6, 0.005e6);
  EXPECT_NEAR(parameter_count(build_model(named("resnet32")).layers) - 2752, 0.46e6, 0.005e6);
  EXPECT_NEAR(parameter_count(build_model(named("resnet44")).layers) - 2752, 0.66e6, 0.005e6);
  EXPECT_NEAR(parameter_count(build_model(named("resnet56")).layers) - 2752, 0.85e6, 0.005e6);
  EXPECT_NEAR(parameter_count(build_model(named("resnet110")).layers) - 2752, 1.7e6, 0.05e6);
  EXPECT_NEAR(parameter_count(build_model(named("resnet1202")).layers) - 2752, 19.4e6, 0.05e6);
}

TEST(Models, resnet110_needs_253_15_million_multiply_adds_and_has_1_731_million_parameters) {
  const LayerGraph model = build_model(named("resnet110"));
  EXPECT_NEAR(static_cast<double>(forward_macs(model.layers)), 253.15e6, 0.005e6);
  EXPECT_NEAR(static_cast<double>(parameter_count(model.layers)), 1.731e6, 0.0005e6);
  EXPECT_EQ(model.size(), 1 + 54 + 1);
}

TEST(Models, resnet32_has_0_467_million_parameters) {
  EXPECT_NEAR(static_cast<double>(parameter_count(build_model(named("resnet32")).layers)), 0.467e6, 0.0005e6);
}

TEST(Models, resnet_halves_the_resolution_where_it_doubles_the_width) {
  const LayerGraph model = build_model(named("resnet32"));
  EXPECT_EQ(model.layers[0].output, (Shape{16, 32, 32}));
  EXPECT_EQ(model.layers[5].name, "layer1.4");
  EXPECT_EQ(model.layers[5].output, (Shape{16, 32, 32}));
  EXPECT_EQ(model.layers[6].name, "layer2.0");
  EXPECT_EQ(model.layers[6].output, (Shape{32, 16, 16}));
  EXPECT_EQ(model.layers[11].output, (Shape{64, 8, 8}));
  EXPECT_EQ(model.layers.back().output, (Shape{10}));
}

// Every block without a change of width needs 2 * 9 * c^2 * h^2 = 4.72 million, wherever it is.
TEST(Models, every_plain_residual_block_needs_the_same_multiply_adds) {
  const LayerGraph model = build_model(named("resnet32"));
  for (const std::size_t i : {1, 5, 7, 10, 12, 15}) {
    EXPECT_EQ(forward_macs(std::span(&model.layers[i], 1)), 4'718'592) << model.layers[i].name;
  }
  for (const std::size_t i : {6, 11}) EXPECT_EQ(forward_macs(std::span(&model.layers[i], 1)), 3'670'016);
}

struct VitFigure {
  const char* name;
  std::int64_t image, patch;
  double macs;     // Dosovitskiy et al. 2021 and DeiT's models; 12 (12 d^2 N + 2 N^2 d) + patches
  double precision;
};

TEST(Models, vit_multiply_adds_are_the_published_ones) {
  const VitFigure figures[] = {
      {"vit-tiny", 224, 16, 1.25e9, 0.005e9}, {"vit-small", 224, 16, 4.60e9, 0.01e9}, {"vit-base", 224, 16, 17.6e9, 0.05e9},
      {"vit-tiny", 32, 4, 0.365e9, 0.0005e9}, {"vit-small", 32, 4, 1.42e9, 0.005e9},  {"vit-base", 32, 4, 5.60e9, 0.01e9},
      {"vit-tiny", 96, 8, 0.872e9, 0.0015e9}, {"vit-small", 96, 8, 3.28e9, 0.01e9},   {"vit-base", 96, 8, 12.7e9, 0.05e9},
  };
  for (const VitFigure& figure : figures) {
    ModelSpec spec = named(figure.name);
    spec.image = {3, figure.image, figure.image};
    spec.patch = figure.patch;
    const LayerGraph model = build_model(spec);
    EXPECT_NEAR(static_cast<double>(forward_macs(model.layers)), figure.macs, figure.precision)
        << figure.name << " " << figure.image << "/" << figure.patch;
    EXPECT_EQ(model.size(), 14);
  }
}

// ViT-B/16 at 224 with 1000 classes has 86,567,656 parameters, DeiT-tiny 5,717,416, DeiT-small
// 22,050,664 (their published checkpoints).
TEST(Models, vit_parameters_are_those_of_the_published_checkpoints) {
  ModelSpec spec = named("vit-base");
  spec.image = {3, 224, 224};
  spec.patch = 16;
  spec.classes = 1000;
  EXPECT_EQ(parameter_count(build_model(spec).layers), 86'567'656);
  spec.name = "vit-tiny";
  EXPECT_EQ(parameter_count(build_model(spec).layers), 5'717'416);
  spec.name = "vit-small";
  EXPECT_EQ(parameter_count(build_model(spec).layers), 22'050'664);
}

TEST(Models, a_custom_vit_takes_rectangular_images) {
  ModelSpec spec = named("vit");
  spec.image = {1, 12, 20};
  spec.patch = 4;
  spec.depth = 2;
  spec.width = 24;
  spec.heads = 4;
  const LayerGraph model = build_model(spec);
  EXPECT_EQ(model.size(), 4);
  EXPECT_EQ(model.layers[0].output, (Shape{16, 24}));  // 3 * 5 patches and the class token
  EXPECT_EQ(model.layers[3].output, (Shape{10}));
}

// 3072 -> 64 -> 64 -> 10.
TEST(Models, mlp_has_depth_hidden_layers_and_a_head) {
  ModelSpec spec = named("mlp");
  spec.depth = 2;
  spec.width = 64;
  const LayerGraph model = build_model(spec);
  EXPECT_EQ(model.size(), 3);
  EXPECT_EQ(forward_macs(model.layers), 3072 * 64 + 64 * 64 + 64 * 10);
  EXPECT_EQ(parameter_count(model.layers), 3073 * 64 + 65 * 64 + 65 * 10);
}

TEST(Models, each_layer_takes_what_the_one_before_gives) {
  for (const std::string& name : model_names()) {
    const LayerGraph model = build_model(named(name));
    EXPECT_EQ(model.layers.front().input, model.image);
    for (std::size_t i = 1; i < model.layers.size(); ++i) {
      EXPECT_EQ(model.layers[i].input, model.layers[i - 1].output) << name << " " << model.layers[i].name;
    }
  }
}

TEST(Models, no_two_tensors_have_the_same_name) {
  for (const std::string& name : model_names()) {
    std::set<std::string> seen;
    for (const Layer& layer : build_model(named(name)).layers) {
      for (const Primitive& p : layer.primitives) {
        for (const TensorSpec& spec : parameter_specs(p)) {
          const std::string full = layer.name + "." + p.name + "." + spec.name;
          EXPECT_TRUE(seen.insert(full).second) << name << ": " << full;
        }
      }
    }
  }
}

TEST(Models, an_unknown_name_is_refused_with_the_nearest_one) {
  EXPECT_NE(error_of(named("vit-tinny")).find("did you mean 'vit-tiny'?"), std::string::npos) << error_of(named("vit-tinny"));
  EXPECT_NE(error_of(named("resnet33")).find("unknown model 'resnet33'"), std::string::npos);
  EXPECT_NE(error_of(named("resnet34")).find("unknown model 'resnet34'"), std::string::npos);
  EXPECT_NE(error_of(named("resnet")).find("unknown model"), std::string::npos);
  EXPECT_EQ(error_of(named("resnet26")), "");  // 6 * 4 + 2
}

TEST(Models, impossible_values_are_refused) {
  ModelSpec spec = named("vit-tiny");
  spec.patch = 5;
  EXPECT_NE(error_of(spec).find("patches of 5 x 5"), std::string::npos) << error_of(spec);
  spec = named("vit");
  spec.heads = 5;
  EXPECT_NE(error_of(spec).find("not a multiple of its 5 heads"), std::string::npos) << error_of(spec);
  spec = named("resnet32");
  spec.image = {32, 32};
  EXPECT_NE(error_of(spec).find("expected 3"), std::string::npos);
  spec.image = {3, 0, 32};
  EXPECT_NE(error_of(spec).find("a dimension of the image"), std::string::npos);
  spec.image = {3, 60'000, 60'000};
  EXPECT_NE(error_of(spec).find("too large"), std::string::npos);
  spec = named("resnet32");
  spec.classes = 0;
  EXPECT_NE(error_of(spec).find("number of classes"), std::string::npos);
  spec = named("mlp");
  spec.dropout = 1;
  EXPECT_NE(error_of(spec).find("dropout"), std::string::npos);
  spec.dropout = 0;
  spec.batchnorm = "frosen";
  EXPECT_NE(error_of(spec).find("did you mean 'frozen'?"), std::string::npos) << error_of(spec);
}

}  // namespace
}  // namespace bubblescope
