// Stage modules: agreement with the layer graph, independence of the cut, batch norm and dropout.
#include "backend/torch/modules.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "sim/core/error.hpp"
#include "sim/workload/models.hpp"
#include "sim/workload/partition.hpp"

namespace bubblescope {
namespace {

/// One thread for all tests of this program: they are small, and tests run beside each other.
class OneThread : public testing::Environment {
  void SetUp() override { torch::set_num_threads(1); }
};
const auto* const kOneThread = testing::AddGlobalTestEnvironment(new OneThread);

/// Small enough to run in milliseconds, with every kind of layer.
ModelSpec small(const std::string& name) {
  ModelSpec spec;
  spec.name = name;
  spec.image = {3, 16, 16};
  spec.depth = 3;
  spec.width = 24;
  spec.heads = 3;
  return spec;
}

ModuleOptions options(std::uint64_t seed = 7, torch::Dtype dtype = torch::kFloat32) {
  ModuleOptions result;
  result.seed = seed;
  result.dtype = dtype;
  return result;
}

torch::Tensor images(const LayerGraph& model, std::int64_t batch, torch::Dtype dtype = torch::kFloat32) {
  std::vector<std::int64_t> shape{batch};
  shape.insert(shape.end(), model.image.begin(), model.image.end());
  auto generator = at::make_generator<at::CPUGeneratorImpl>(11);
  return torch::randn(shape, generator, dtype);
}

std::vector<StageModule> modules(const LayerGraph& model, const std::vector<std::int32_t>& cuts, const ModuleOptions& how) {
  std::vector<StageModule> result;
  for (const StageRange& range : stage_ranges(model, cuts)) result.emplace_back(model, range.first, range.last, how);
  return result;
}

torch::Tensor run(std::vector<StageModule>& stages, torch::Tensor x, const ForwardContext& context) {
  for (StageModule& stage : stages) x = stage.forward(x, context);
  return x;
}

std::int64_t count(const std::vector<NamedTensor>& tensors) {
  std::int64_t sum = 0;
  for (const NamedTensor& tensor : tensors) sum += tensor.tensor.numel();
  return sum;
}

class Models : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(All, Models, testing::Values("resnet20", "resnet32", "vit-tiny", "vit", "mlp"),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST_P(Models, have_the_parameters_and_output_shapes_of_the_layer_graph) {
  const LayerGraph model = build_model(small(GetParam()));
  torch::NoGradGuard no_grad;
  torch::Tensor x = images(model, 2);
  for (std::int32_t i = 0; i < model.size(); ++i) {
    StageModule layer(model, i, i + 1, options());
    const auto graph = layer_range(model, i, i + 1);
    EXPECT_EQ(count(layer.parameters()), parameter_count(graph)) << graph[0].name;
    EXPECT_EQ(count(layer.buffers()), buffer_count(graph)) << graph[0].name;
    x = layer.forward(x, {});
    std::vector<std::int64_t> expected{2};
    expected.insert(expected.end(), graph[0].output.begin(), graph[0].output.end());
    EXPECT_EQ(x.sizes().vec(), expected) << graph[0].name;
  }
}

TEST_P(Models, give_the_same_bits_however_they_are_cut) {
  ModelSpec spec = small(GetParam());
  spec.dropout = 0.2;
  const LayerGraph model = build_model(spec);
  const ForwardContext context{.training = true, .update_statistics = true, .seed = 3, .iteration = 5, .microbatch = 2};
  const torch::Tensor x = images(model, 4);
  std::vector<std::vector<torch::Tensor>> gradients;
  std::vector<torch::Tensor> outputs;
  for (const std::int32_t stages : {1, 2, 4}) {
    auto cut = modules(model, partition(model, stages, "layers"), options());
    const torch::Tensor y = run(cut, x, context);
    y.square().sum().backward();
    outputs.push_back(y);
    auto& list = gradients.emplace_back();
    for (const StageModule& stage : cut) {
      for (const NamedTensor& parameter : stage.parameters()) list.push_back(parameter.tensor.grad());
    }
  }
  for (std::size_t i = 1; i < outputs.size(); ++i) {
    EXPECT_TRUE(torch::equal(outputs[i], outputs[0]));
    ASSERT_EQ(gradients[i].size(), gradients[0].size());
    for (std::size_t k = 0; k < gradients[0].size(); ++k) EXPECT_TRUE(torch::equal(gradients[i][k], gradients[0][k])) << k;
  }
}

TEST_P(Models, start_from_weights_that_only_the_seed_and_the_layer_decide) {
  const LayerGraph model = build_model(small(GetParam()));
  const StageModule whole(model, 0, model.size(), options());
  const StageModule end(model, 2, model.size(), options());
  const StageModule other(model, 0, model.size(), options(8));
  const std::size_t skipped = whole.parameters().size() - end.parameters().size();
  for (std::size_t k = 0; k < end.parameters().size(); ++k) {
    EXPECT_EQ(end.parameters()[k].name, whole.parameters()[skipped + k].name);
    EXPECT_TRUE(torch::equal(end.parameters()[k].tensor, whole.parameters()[skipped + k].tensor));
  }
  bool differs = false;
  for (std::size_t k = 0; k < whole.parameters().size(); ++k) {
    differs |= !torch::equal(whole.parameters()[k].tensor, other.parameters()[k].tensor);
  }
  EXPECT_TRUE(differs);
}

TEST_P(Models, start_from_the_same_weights_in_both_precisions) {
  const LayerGraph model = build_model(small(GetParam()));
  const StageModule single(model, 0, model.size(), options());
  const StageModule twice(model, 0, model.size(), options(7, torch::kFloat64));
  for (std::size_t k = 0; k < single.parameters().size(); ++k) {
    EXPECT_EQ(twice.parameters()[k].tensor.scalar_type(), torch::kFloat64);
    EXPECT_TRUE(torch::equal(twice.parameters()[k].tensor.to(torch::kFloat32), single.parameters()[k].tensor));
  }
}

TEST_P(Models, leave_the_stages_input_unchanged) {
  const LayerGraph model = build_model(small(GetParam()));
  auto cut = modules(model, partition(model, 2, "layers"), options());
  const torch::Tensor x = images(model, 2);
  const torch::Tensor before = x.clone();
  const torch::Tensor middle = cut[0].forward(x, {}).detach();
  const torch::Tensor middle_before = middle.clone();
  cut[1].forward(middle, {}).sum().backward();
  EXPECT_TRUE(torch::equal(x, before));
  EXPECT_TRUE(torch::equal(middle, middle_before));
}

// Central differences in float64 along a random direction of all parameters. The step is so small that
// hardly any of the ReLUs changes its side within it.
TEST_P(Models, have_the_gradients_of_finite_differences) {
  const LayerGraph model = build_model(small(GetParam()));
  StageModule whole(model, 0, model.size(), options(7, torch::kFloat64));
  const torch::Tensor x = images(model, 4, torch::kFloat64);
  const auto value = [&] { return whole.forward(x, {}).square().sum(); };
  value().backward();
  torch::NoGradGuard no_grad;
  auto generator = at::make_generator<at::CPUGeneratorImpl>(5);
  double along = 0;
  std::vector<torch::Tensor> direction;
  for (const NamedTensor& p : whole.parameters()) {
    direction.push_back(torch::randn(p.tensor.sizes(), generator, torch::kFloat64));
    along += (direction.back() * p.tensor.grad()).sum().item<double>();
  }
  const double step = 2e-9;
  const auto move = [&](double by) {
    for (std::size_t k = 0; k < direction.size(); ++k) whole.parameters()[k].tensor.add_(direction[k], by);
  };
  move(step);
  const double up = value().item<double>();
  move(-2 * step);
  const double down = value().item<double>();
  EXPECT_NEAR((up - down) / (2 * step), along, 1e-3 * std::abs(along));
}

TEST(StageModule, names_parameters_by_layer_and_primitive) {
  const StageModule module(build_model(small("resnet20")), 0, 2, options());
  EXPECT_EQ(module.parameters()[0].name, "stem.conv.weight");
  EXPECT_EQ(module.parameters()[3].name, "layer1.0.conv1.weight");
  EXPECT_EQ(module.buffers()[1].name, "stem.bn.running_var");
  EXPECT_TRUE(module.parameters()[0].tensor.requires_grad());
  EXPECT_FALSE(module.buffers()[0].tensor.requires_grad());
}

// 16 filters of 9 * 3 weights with deviation sqrt(2 / (9 * 16)) = 0.1179: the mean square over the
// 2304 weights of layer1.0.conv1 is within five standard errors, 5 * sqrt(2 / 2304) = 15 %.
TEST(StageModule, draws_convolutions_with_the_published_deviation) {
  const StageModule module(build_model(small("resnet20")), 0, 2, options());
  const double variance = module.parameters()[3].tensor.square().mean().item<double>();
  EXPECT_NEAR(variance, 2.0 / (9 * 16), 0.15 * 2.0 / (9 * 16));
}

// A normal distribution of deviation 0.02 cut at two deviations has 0.774 of its variance.
TEST(StageModule, draws_vit_weights_from_a_truncated_normal_distribution) {
  ModelSpec spec = small("vit-tiny");
  const StageModule module(build_model(spec), 1, 2, options());
  const torch::Tensor qkv = module.parameters()[2].tensor;
  EXPECT_EQ(module.parameters()[2].name, "block.0.qkv.weight");
  EXPECT_LE(qkv.abs().max().item<double>(), 0.04 + 1e-8);
  EXPECT_NEAR(qkv.square().mean().item<double>(), 0.774 * 0.02 * 0.02, 0.03 * 0.02 * 0.02);
}

/// Batch norm alone, on {2} features.
LayerGraph lone_norm(bool frozen) {
  LayerGraph graph;
  graph.frozen_batchnorm = frozen;
  Primitive norm;
  norm.kind = PrimitiveKind::batch_norm;
  norm.name = "bn";
  norm.input = norm.output = {2};
  graph.layers.push_back({"layer", {2}, {2}, {norm}});
  return graph;
}

const torch::Tensor& buffer(const StageModule& module, std::size_t index) { return module.buffers()[index].tensor; }

// Batch {1, 3}, {5, 9}: means 2 and 7, unbiased variances 2 and 8, biased 1 and 4; momentum 0.1.
TEST(StageModule, batch_norm_moves_its_running_statistics_by_a_tenth) {
  StageModule module(lone_norm(false), 0, 1, options(0, torch::kFloat64));
  const auto x = torch::tensor({{1.0, 5.0}, {3.0, 9.0}}, torch::kFloat64);
  const torch::Tensor y = module.forward(x, {});
  EXPECT_TRUE(torch::allclose(y, torch::tensor({{-1.0, -1.0}, {1.0, 1.0}}, torch::kFloat64), 1e-4));
  EXPECT_TRUE(torch::allclose(buffer(module, 0), torch::tensor({0.2, 0.7}, torch::kFloat64)));
  EXPECT_TRUE(torch::allclose(buffer(module, 1), torch::tensor({0.9 + 0.2, 0.9 + 0.8}, torch::kFloat64)));
}

TEST(StageModule, a_recompute_gives_the_same_output_and_leaves_the_statistics_alone) {
  StageModule module(lone_norm(false), 0, 1, options(0, torch::kFloat64));
  const auto x = torch::tensor({{1.0, 5.0}, {3.0, 9.0}}, torch::kFloat64);
  const torch::Tensor y = module.forward(x, {});
  const torch::Tensor mean = buffer(module, 0).clone();
  ForwardContext again;
  again.update_statistics = false;
  EXPECT_TRUE(torch::equal(module.forward(x, again), y));
  EXPECT_TRUE(torch::equal(buffer(module, 0), mean));
}

TEST(StageModule, evaluation_and_frozen_batch_norm_use_the_running_statistics) {
  const auto x = torch::tensor({{1.0, 5.0}, {3.0, 9.0}}, torch::kFloat64);
  ForwardContext evaluation;
  evaluation.training = false;
  StageModule module(lone_norm(false), 0, 1, options(0, torch::kFloat64));
  StageModule frozen(lone_norm(true), 0, 1, options(0, torch::kFloat64));
  // Running mean 0 and variance 1.
  EXPECT_TRUE(torch::allclose(module.forward(x, evaluation), x, 1e-4));
  EXPECT_TRUE(torch::allclose(frozen.forward(x, {}), x, 1e-4));
  EXPECT_TRUE(torch::equal(buffer(frozen, 0), torch::zeros({2}, torch::kFloat64)));
  EXPECT_TRUE(torch::equal(buffer(module, 0), torch::zeros({2}, torch::kFloat64)));
}

TEST(StageModule, batch_norm_of_one_value_per_channel_is_refused) {
  StageModule module(lone_norm(false), 0, 1, options());
  EXPECT_THROW(module.forward(torch::ones({1, 2}), {}), RunError);
  StageModule frozen(lone_norm(true), 0, 1, options());
  EXPECT_NO_THROW(frozen.forward(torch::ones({1, 2}), {}));
}

TEST(StageModule, dropout_depends_on_seed_iteration_and_microbatch_alone) {
  ModelSpec spec = small("mlp");
  spec.dropout = 0.5;
  const LayerGraph model = build_model(spec);
  StageModule module(model, 0, 1, options());
  const torch::Tensor x = images(model, 4);
  ForwardContext context{.training = true, .update_statistics = true, .seed = 1, .iteration = 2, .microbatch = 3};
  const torch::Tensor y = module.forward(x, context);
  EXPECT_TRUE(torch::equal(module.forward(x, context), y));
  for (const int what : {0, 1, 2}) {
    ForwardContext other = context;
    if (what == 0) other.seed = 9;
    if (what == 1) other.iteration = 9;
    if (what == 2) other.microbatch = 9;
    EXPECT_FALSE(torch::equal(module.forward(x, other), y)) << what;
  }
  // What survives is doubled.
  context.training = false;
  const torch::Tensor whole = module.forward(x, context);
  EXPECT_TRUE(torch::allclose(y, torch::where(y == 0, y, 2 * whole)));
  EXPECT_GT((y == 0).logical_and(whole > 0).sum().item<std::int64_t>(), 0);
}

TEST(StageModule, layers_outside_the_graph_are_refused) {
  const LayerGraph model = build_model(small("mlp"));
  EXPECT_THROW(StageModule(model, 2, 2, options()), InputError);
  EXPECT_THROW(StageModule(model, 0, 9, options()), InputError);
}

}  // namespace
}  // namespace bubblescope
