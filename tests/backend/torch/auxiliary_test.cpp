// Auxiliary modules: agreement with the layer graph, losses, evaluation.
#include "backend/torch/modules.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "sim/core/error.hpp"
#include "sim/workload/models.hpp"

namespace bubblescope {
namespace {

LayerGraph model(const std::string& name) {
  ModelSpec spec;
  spec.name = name;
  spec.image = {3, 16, 16};
  spec.depth = 4;
  spec.width = 24;
  return build_model(spec);
}

AuxiliaryNetwork network(const std::string& name, const LayerGraph& graph, std::int32_t cut) {
  AuxiliarySpec spec;
  spec.name = name;
  if (name == "auglocal") spec.blocks = 2;
  return build_auxiliary(spec, graph, cut, 0, 3);
}

torch::Tensor random(std::vector<std::int64_t> shape, std::int64_t batch, std::uint64_t seed = 3) {
  shape.insert(shape.begin(), batch);
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return torch::randn(shape, generator, torch::kFloat32);
}

std::int64_t count(const std::vector<NamedTensor>& tensors) {
  std::int64_t sum = 0;
  for (const NamedTensor& tensor : tensors) sum += tensor.tensor.numel();
  return sum;
}

void expect_trains(const std::string& name, const LayerGraph& graph, std::int32_t cut) {
  const AuxiliaryNetwork net = network(name, graph, cut);
  AuxiliaryModule module(net, 0, {});
  EXPECT_EQ(count(module.parameters()), parameter_count(net)) << name;
  const torch::Tensor features = random(graph.layers[static_cast<std::size_t>(cut) - 1].output, 6).requires_grad_();
  const torch::Tensor before = features.detach().clone();
  const torch::Tensor labels = torch::tensor({0, 1, 2, 0, 1, 2});
  const torch::Tensor images = torch::sigmoid(random(graph.image, 6));
  const torch::Tensor loss = module.loss(features, labels, images, {});
  EXPECT_EQ(loss.dim(), 0) << name;
  EXPECT_TRUE(std::isfinite(loss.item<double>())) << name;
  loss.backward();
  EXPECT_TRUE(torch::equal(features.detach(), before)) << name;
  EXPECT_GT(features.grad().abs().sum().item<double>(), 0) << name;
  for (const NamedTensor& parameter : module.parameters()) EXPECT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
  if (module.has_logits()) {
    EXPECT_EQ(module.logits(features, {}).sizes().vec(), (std::vector<std::int64_t>{6, 10})) << name;
  }
}

TEST(AuxiliaryModule, every_network_trains_on_every_resolution_of_a_resnet) {
  const LayerGraph graph = model("resnet20");
  for (const std::string& name : auxiliary_names()) {
    for (const std::int32_t cut : {1, 5, 8}) expect_trains(name, graph, cut);
  }
}

TEST(AuxiliaryModule, heads_of_vit_and_mlp_train) {
  for (const char* name : {"greedy", "auglocal", "glcan"}) {
    expect_trains(name, model("vit"), 2);
    expect_trains(name, model("mlp"), 2);
  }
}

TEST(AuxiliaryModule, needs_images_only_for_reconstruction) {
  const LayerGraph graph = model("resnet20");
  EXPECT_TRUE(AuxiliaryModule(network("infopro", graph, 4), 0, {}).needs_images());
  EXPECT_FALSE(AuxiliaryModule(network("dgl", graph, 4), 0, {}).needs_images());
}

TEST(AuxiliaryModule, has_logits_but_for_the_contrastive_loss) {
  const LayerGraph graph = model("resnet20");
  EXPECT_TRUE(AuxiliaryModule(network("infopro", graph, 4), 0, {}).has_logits());
  AuxiliaryModule contrast(network("infopro-contrast", graph, 4), 0, {});
  EXPECT_FALSE(contrast.has_logits());
  EXPECT_FALSE(contrast.logits(random(graph.layers[3].output, 2), {}).defined());
}

// Two classes at logits 0: log 2. Parameters: none.
TEST(AuxiliaryModule, the_last_stages_loss_is_the_cross_entropy_of_its_logits) {
  AuxiliaryModule module(output_loss(), 1, {});
  EXPECT_TRUE(module.parameters().empty());
  const torch::Tensor loss = module.loss(torch::zeros({3, 2}), torch::tensor({0, 1, 1}), {}, {});
  EXPECT_NEAR(loss.item<double>(), std::log(2.0), 1e-6);
  const torch::Tensor logits = torch::tensor({{1.F, 2.F}});
  EXPECT_TRUE(torch::equal(module.logits(logits, {}), logits));
}

TEST(AuxiliaryModule, starts_from_weights_that_seed_and_stage_decide) {
  const AuxiliaryNetwork net = network("greedy", model("resnet20"), 4);
  ModuleOptions other;
  other.seed = 1;
  const auto weight = [](const AuxiliaryModule& module) { return module.parameters()[0].tensor; };
  EXPECT_TRUE(torch::equal(weight(AuxiliaryModule(net, 0, {})), weight(AuxiliaryModule(net, 0, {}))));
  EXPECT_FALSE(torch::equal(weight(AuxiliaryModule(net, 0, {})), weight(AuxiliaryModule(net, 1, {}))));
  EXPECT_FALSE(torch::equal(weight(AuxiliaryModule(net, 0, {})), weight(AuxiliaryModule(net, 0, other))));
}

TEST(AuxiliaryModule, adds_its_branches_by_their_weights) {
  const LayerGraph graph = model("resnet20");
  AuxiliaryNetwork net = network("infopro", graph, 4);
  const torch::Tensor features = random(graph.layers[3].output, 4);
  const torch::Tensor labels = torch::tensor({0, 1, 2, 3});
  const torch::Tensor images = torch::sigmoid(random(graph.image, 4));
  const auto loss = [&](double task, double reconstruction) {
    net.branches[0].weight = task;
    net.branches[1].weight = reconstruction;
    return AuxiliaryModule(net, 0, {}).loss(features, labels, images, {}).item<double>();
  };
  EXPECT_NEAR(loss(2, 3), 2 * loss(1, 0) + 3 * loss(0, 1), 1e-5);
}

}  // namespace
}  // namespace bubblescope
