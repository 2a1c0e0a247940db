// The single auxiliary networks; see auxiliary_networks.hpp. Definitions: Belilovsky et al. 2020 (DGL),
// Wang et al. 2021 (InfoPro), Nokland and Eidnes 2019 (PredSim), Ma et al. 2024 (AugLocal), Zhu et
// al. 2024 (GLCAN), each as in its public code.
#include "sim/workload/auxiliary_networks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "sim/workload/layer_builder.hpp"

namespace bubblescope {

namespace {

LayerGraph empty_graph(const AuxiliaryCut& cut, std::string name) {
  LayerGraph graph;
  graph.name = std::move(name);
  graph.family = cut.model.family;
  graph.image = cut.features();
  graph.classes = cut.model.classes;
  graph.heads = cut.model.heads;
  graph.dropout = cut.model.dropout;
  graph.frozen_batchnorm = cut.model.frozen_batchnorm;
  return graph;
}

AuxiliaryNetwork classifier(const AuxiliaryCut& cut, std::vector<Layer> layers) {
  LayerGraph graph = empty_graph(cut, cut.spec.name);
  graph.layers = std::move(layers);
  return {cut.spec.name, {{std::move(graph), LossKind::cross_entropy, 1.0}}};
}

Layer pooled_linear(const Shape& input, std::int64_t classes, bool batch_norm = false) {
  LayerBuilder head("head", input);
  auto x = head.flatten(head.average_pool(0, 1, 1));
  if (batch_norm) x = head.batch_norm(x, "bn");
  head.linear(x, "linear", classes);
  return head.finish();
}

/// A hidden layer as those of the MLP model.
Layer hidden_layer(std::string name, const Shape& input, double dropout) {
  LayerBuilder b(std::move(name), input);
  b.dropout(b.relu(b.linear(0, "linear", input[0])), dropout);
  return b.finish();
}

Layer linear_head(const Shape& input, std::int64_t classes) {
  LayerBuilder head("head", input);
  head.linear(0, "linear", classes);
  return head.finish();
}

/// `blocks` of the model's own kind on tokens or features, and the head.
AuxiliaryNetwork blocks_and_head(const AuxiliaryCut& cut, std::int64_t blocks) {
  std::vector<Layer> layers;
  Shape shape = cut.features();
  const bool vit = cut.model.family == Family::vit;
  for (std::int64_t i = 0; i < blocks; ++i) {
    const std::string name = fmt::format("block.{}", i);
    layers.push_back(vit ? transformer_block(name, shape, cut.model.heads, cut.model.dropout)
                         : hidden_layer(name, shape, cut.model.dropout));
  }
  layers.push_back(vit ? token_head("head", shape, cut.model.classes) : linear_head(shape, cut.model.classes));
  return classifier(cut, std::move(layers));
}

}  // namespace

AuxiliaryNetwork greedy_network(const AuxiliaryCut& cut) {
  if (cut.model.family != Family::resnet) return blocks_and_head(cut, cut.spec.blocks);
  return classifier(cut, {pooled_linear(cut.features(), cut.model.classes)});
}

namespace {

std::int64_t quarter(std::int64_t size) { return (size + 3) / 4; }

}  // namespace

AuxiliaryNetwork dgl_network(const AuxiliaryCut& cut, const DglShape& shape) {
  const Shape& in = cut.features();
  const std::int64_t height = quarter(in[1]);
  const std::int64_t width = quarter(in[2]);
  LayerBuilder b("dgl", in);
  auto x = b.average_pool(0, height, width);
  for (int i = 1; i <= shape.convs; ++i) {
    x = b.relu(b.batch_norm(b.conv(x, fmt::format("conv{}", i), in[0], 1, 1, 0), fmt::format("bn{}", i)));
  }
  const std::int64_t two = 2;
  x = b.flatten(b.average_pool(x, shape.limit_pool ? std::min(height, two) : two,
                               shape.limit_pool ? std::min(width, two) : two));
  const std::int64_t features = b.shape(x)[0];
  for (int i = 1; i <= shape.hidden; ++i) {
    x = b.linear(x, fmt::format("hidden{}", i), features, Init::fan_in_uniform, shape.hidden_bias);
    x = b.relu(b.batch_norm(x, fmt::format("hidden_bn{}", i)));
  }
  b.linear(x, "linear", cut.model.classes);
  return classifier(cut, {b.finish()});
}

AuxiliaryNetwork dgl_cnn_network(const AuxiliaryCut& cut) {
  const std::int64_t channels = cut.features()[0];
  LayerBuilder b("dgl", cut.features());
  auto x = b.relu(b.batch_norm(b.conv(0, "conv1", channels, 3, 1, 1), "bn1"));
  x = b.relu(b.batch_norm(b.conv(x, "conv2", channels, 3, 1, 1), "bn2"));
  b.linear(b.flatten(b.batch_norm(b.average_pool(x, 2, 2), "bn")), "linear", cut.model.classes);
  return classifier(cut, {b.finish()});
}

AuxiliaryNetwork dgl_man_network(const AuxiliaryCut& cut) {
  LayerBuilder b("dgl", cut.features());
  auto x = b.average_pool(0, 8, 8);
  for (int i = 1; i <= 3; ++i) {
    x = b.relu(b.batch_norm(b.conv(x, fmt::format("conv{}", i), 128, 1, 1, 0), fmt::format("bn{}", i)));
  }
  x = b.flatten(b.average_pool(x, 1, 1));
  for (int i = 1; i <= 3; ++i) {
    x = b.relu(b.batch_norm(b.linear(x, fmt::format("hidden{}", i), 512), fmt::format("hidden_bn{}", i)));
  }
  b.linear(x, "linear", cut.model.classes);
  return classifier(cut, {b.finish()});
}

namespace {

/// Features upsampled to the image's size, two 3x3 convolutions, sigmoid.
LayerGraph decoder(const AuxiliaryCut& cut) {
  const Shape& image = cut.model.image;
  LayerBuilder b("decoder", cut.features());
  auto x = b.conv(b.upsample(0, image[1], image[2]), "conv1", 12, 3, 1, 1, Init::fan_out_normal, true);
  x = b.relu(b.batch_norm(x, "bn1"));
  b.sigmoid(b.conv(x, "conv2", image[0], 3, 1, 1, Init::fan_out_normal, true));
  LayerGraph graph = empty_graph(cut, "decoder");
  graph.layers.push_back(b.finish());
  return graph;
}

/// Loss weights at the first and the last local module.
struct InfoProWeights {
  double reconstruction_first, task_first, reconstruction_last, task_last;
};

/// InfoPro's own for CIFAR-10 where it published some (its command file), else 5, 0.5 -> 0, 1.
InfoProWeights infopro_weights(const std::string& model, std::int32_t stages) {
  if (model == "resnet32") {
    if (stages == 2) return {5, 1, 0, 0};
    if (stages == 4) return {6, 0, 1, 2};
    if (stages == 8) return {5, 0, 0, 2};
    if (stages == 16) return {5, 0.05, 0.2, 0.5};
  }
  if (model == "resnet110") {
    if (stages == 2) return {5, 0.5, 0, 0};
    if (stages == 4) return {1, 0, 0, 1};
    if (stages == 8) return {5, 0, 0, 1};
    if (stages == 16) return {5, 0, 0.5, 1};
  }
  return {5, 0.5, 0, 1};
}

}  // namespace

AuxiliaryNetwork infopro_network(const AuxiliaryCut& cut, int convs, LossKind task) {
  constexpr std::int64_t kFeatures = 128;
  const std::int64_t in = cut.features()[0];
  const bool widen = in < 64;
  const std::int64_t channels = widen ? 2 * in : in;
  LayerBuilder b("head", cut.features());
  LayerBuilder::Value x = 0;
  for (int i = 1; i <= convs; ++i) {
    const std::int64_t stride = i == 1 && widen ? 2 : 1;
    x = b.relu(b.batch_norm(b.conv(x, fmt::format("conv{}", i), channels, 3, stride, 1), fmt::format("bn{}", i)));
  }
  x = b.relu(b.linear(b.flatten(b.average_pool(x, 1, 1)), "hidden", kFeatures));
  b.linear(x, "linear", task == LossKind::contrastive ? kFeatures : cut.model.classes);
  LayerGraph head = empty_graph(cut, "head");
  head.layers.push_back(b.finish());

  const InfoProWeights published = infopro_weights(cut.model.name, cut.stages);
  const double ratio = cut.depth_ratio();
  const auto between = [&](const char* first, double first_default, const char* last, double last_default) {
    return cut.weight(first, first_default) * (1 - ratio) + cut.weight(last, last_default) * ratio;
  };
  const double reconstruction = between("reconstruction_first", published.reconstruction_first, "reconstruction_last",
                                        published.reconstruction_last);
  const double task_weight = between("task_first", published.task_first, "task_last", published.task_last);
  return {cut.spec.name,
          {{std::move(head), task, task_weight}, {decoder(cut), LossKind::reconstruction, reconstruction}}};
}

AuxiliaryNetwork predsim_network(const AuxiliaryCut& cut) {
  constexpr std::int64_t kFeatures = 1024;
  const Shape& in = cut.features();
  std::int64_t height = in[1];
  std::int64_t width = in[2];
  while (in[0] * height * width > kFeatures && height > 1) {
    height = (height + 1) / 2;
    if (in[0] * height * width > kFeatures) width = (width + 1) / 2;
  }
  LayerBuilder prediction("prediction", in);
  prediction.linear(prediction.flatten(prediction.average_pool(0, height, width)), "linear", cut.model.classes);
  LayerBuilder similarity("similarity", in);
  similarity.conv(0, "conv", in[0], 3, 1, 1);
  AuxiliaryNetwork network{cut.spec.name, {}};
  network.branches.push_back({empty_graph(cut, "prediction"), LossKind::cross_entropy, cut.weight("prediction", 0.01)});
  network.branches.back().graph.layers.push_back(prediction.finish());
  network.branches.push_back({empty_graph(cut, "similarity"), LossKind::similarity, cut.weight("similarity", 0.99)});
  network.branches.back().graph.layers.push_back(similarity.finish());
  return network;
}

namespace {

/// AugLocal's pyramidal rule: fewer auxiliary layers the closer the module is to the output.
/// Rounded half to even, as the original is.
std::int64_t pyramidal_depth(const AuxiliaryCut& cut) {
  const double depth = static_cast<double>(std::max<std::int64_t>(1, cut.spec.blocks));
  const double decrease = cut.weight("pyramid", 0.5) * cut.depth_ratio();
  return std::max<std::int64_t>(1, std::llrint(depth * (1 - decrease) + decrease));
}

/// Layers of the model after `layer`, `depth` of them evenly spaced up to the last block.
std::vector<std::int32_t> sampled_layers(std::int32_t layer, std::int32_t layers, std::int64_t depth) {
  std::vector<std::int32_t> sampled;
  const std::int32_t remaining = layers - 1 - layer;
  if (depth >= remaining) {
    for (std::int32_t i = layer + 1; i < layers; ++i) sampled.push_back(i);
    return sampled;
  }
  for (std::int64_t i = 1; i <= depth; ++i) {
    const double position = layer + static_cast<double>(remaining) / static_cast<double>(depth) * static_cast<double>(i);
    sampled.push_back(static_cast<std::int32_t>(std::llrint(position)));
  }
  return sampled;
}

/// Residual blocks of the given widths, halving the resolution once per doubling of the width.
std::vector<Layer> residual_blocks(const Shape& features, std::span<const std::int64_t> widths) {
  std::vector<Layer> layers;
  Shape shape = features;
  std::int64_t halvings = 0;
  for (const std::int64_t width : widths) {
    halvings += std::llrint(std::log2(static_cast<double>(width) / static_cast<double>(shape[0])));
    const std::int64_t stride = halvings > 0 ? 2 : 1;
    halvings = std::max<std::int64_t>(0, halvings - 1);
    layers.push_back(basic_block(fmt::format("block.{}", layers.size()), shape, width, stride));
    shape = layers.back().output;
  }
  return layers;
}

}  // namespace

AuxiliaryNetwork auglocal_network(const AuxiliaryCut& cut) {
  const std::int64_t depth = pyramidal_depth(cut);
  const std::int32_t layers = cut.model.size() - 1;  // the head is not sampled
  const std::vector<std::int32_t> sampled = sampled_layers(cut.layer, layers, depth);
  if (cut.model.family != Family::resnet) return blocks_and_head(cut, static_cast<std::int64_t>(sampled.size()));
  std::vector<std::int64_t> widths;
  for (const std::int32_t i : sampled) widths.push_back(cut.model.layers[static_cast<std::size_t>(i)].output[0]);
  std::vector<Layer> network = residual_blocks(cut.features(), widths);
  network.push_back(pooled_linear(network.empty() ? cut.features() : network.back().output, cut.model.classes,
                                  depth <= 1));
  return classifier(cut, std::move(network));
}

AuxiliaryNetwork glcan_network(const AuxiliaryCut& cut) {
  if (cut.model.family != Family::resnet) {
    return blocks_and_head(cut, std::max<std::int64_t>(1, cut.spec.blocks));
  }
  std::vector<std::int64_t> widths;
  std::int64_t width = cut.features()[0];
  for (std::int32_t i = cut.layer + 1; i < cut.model.size() - 1; ++i) {
    const std::int64_t next = cut.model.layers[static_cast<std::size_t>(i)].output[0];
    if (next != width) widths.push_back(width = next);
  }
  std::vector<Layer> network = residual_blocks(cut.features(), widths);
  network.push_back(pooled_linear(network.empty() ? cut.features() : network.back().output, cut.model.classes));
  return classifier(cut, std::move(network));
}

}  // namespace bubblescope
