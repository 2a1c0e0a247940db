// Schedules whose backwards run after later updates, held against one process that keeps every version of
// every weight and does the arithmetic of an MLP by hand.
#include "backend/torch/stage_versions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/weight_versions.hpp"
#include "tests/backend/torch/reference.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;

/// An MLP in float64, one hidden layer per stage but the last, which has the head alone.
TorchConfig deep_mlp(std::int32_t stages) {
  TorchConfig config = in_double(resnet(1));
  config.model = {};
  config.model.name = "mlp";
  config.auxiliary.name = "greedy";
  config.model.image = {3, 16, 16};
  config.model.depth = stages - 1;
  config.model.width = 12;
  config.cuts.clear();
  for (std::int32_t s = 1; s < stages; ++s) config.cuts.push_back(s);
  config.batch = config.microbatch = 4;
  config.optimizer = {.name = "sgd", .momentum = 0.9, .nesterov = true, .weight_decay = 1e-2};
  config.rate.base = 0.05;
  return config;
}

/// The stages of such an MLP: of each, every version of weight and bias so far.
class ByHand {
 public:
  struct Layer {
    torch::Tensor weight, bias;
  };

  explicit ByHand(const TorchConfig& config) : config_(config), batches_(config.data, plan(config, 1)) {
    const LayerGraph graph = build_model(config.model);
    const StageModule model(graph, 0, graph.size(), {.dtype = torch::kFloat64});
    for (std::size_t i = 0; i < model.parameters().size(); i += 2) {
      stages_.push_back({{{model.parameters()[i].tensor.detach().clone(), model.parameters()[i + 1].tensor.detach().clone()}}, {}, {}});
      names_.push_back(model.parameters()[i].name);
      names_.push_back(model.parameters()[i + 1].name);
    }
  }

  static BatchPlan plan(const TorchConfig& config, std::int64_t microbatches) {
    return {config.seed, config.batch, config.microbatch, microbatches, config.augment, torch::kFloat64};
  }

  /// Trains with the versions that `program` says, microbatch by microbatch. Updates come after every
  /// `per_update` of them.
  void train(const Program& program, std::int32_t iterations) {
    const torch::NoGradGuard no_grad;
    batches_ = Batches(config_.data, plan(config_, program.microbatches));
    const Program stream = repeat_iterations(program, iterations);
    const auto uses = weight_versions(stream);
    const bool each = updates_each(program);
    const bool replays = has(program, Kind::R);
    const std::size_t count = uses.front().size();
    for (std::size_t j = 0; j < count; ++j) {
      const VersionUse& first = uses.front()[j];
      const Batch batch = batches_.batch(first.iteration, first.microbatch);
      std::vector<torch::Tensor> inputs;
      torch::Tensor x = batch.images.flatten(1);
      for (std::size_t s = 0; s < stages_.size(); ++s) {
        EXPECT_EQ(uses[s][j].microbatch, first.microbatch);
        inputs.push_back(x);
        x = output(s, uses[s][j].forward, x);
      }
      // Backwards, with what the stage's F (or its R) kept and the weights of the backward's version.
      const auto stale = [&](std::size_t s) { return replays ? uses[s][j].backward : uses[s][j].forward; };
      const std::size_t last = stages_.size() - 1;
      const torch::Tensor scores = torch::softmax(output(last, stale(last), inputs[last]), 1);
      torch::Tensor gradient = (scores - torch::one_hot(batch.labels, scores.size(1))) / static_cast<double>(scores.size(0));
      if (!each) gradient = gradient / static_cast<double>(program.microbatches);
      for (std::size_t s = stages_.size(); s-- > 0;) {
        if (s != last) gradient = gradient * (output(s, stale(s), inputs[s]) > 0);
        Stage& stage = stages_[s];
        stage.add(gradient.t().mm(inputs[s]), gradient.sum(0));
        if (s > 0) gradient = gradient.mm(stage.versions.at(static_cast<std::size_t>(uses[s][j].backward)).weight);
        if (each || first.microbatch + 1 == program.microbatches) {
          ASSERT_EQ(uses[s][j].applied, static_cast<std::int32_t>(stage.versions.size()) - 1);
          update(stage);
        }
      }
    }
  }

  Tensors weights() const {
    Tensors all;
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      all[names_[2 * s]] = stages_[s].versions.back().weight;
      all[names_[2 * s + 1]] = stages_[s].versions.back().bias;
    }
    return all;
  }

 private:
  struct Stage {
    std::vector<Layer> versions;
    Layer gradient, momentum;
    void add(const torch::Tensor& weight, const torch::Tensor& bias) {
      gradient.weight = gradient.weight.defined() ? gradient.weight + weight : weight;
      gradient.bias = gradient.bias.defined() ? gradient.bias + bias : bias;
    }
  };

  static bool has(const Program& program, Kind kind) {
    return std::any_of(program.rows[0].begin(), program.rows[0].end(), [&](const Op& op) { return op.kind == kind; });
  }
  static bool updates_each(const Program& program) {
    return std::any_of(program.rows[0].begin(), program.rows[0].end(), [](const Op& op) { return op.kind == Kind::U && op.microbatch >= 0; });
  }

  torch::Tensor output(std::size_t s, std::int32_t version, const torch::Tensor& x) const {
    const Layer& layer = stages_[s].versions.at(static_cast<std::size_t>(version));
    const torch::Tensor y = x.mm(layer.weight.t()) + layer.bias;
    return s + 1 == stages_.size() ? y : y.clamp_min(0);
  }

  /// SGD with momentum after Nesterov and L2 decay, of the newest version.
  void update(Stage& stage) const {
    const OptimizerConfig& o = config_.optimizer;
    const Layer& newest = stage.versions.back();
    const auto next = [&](const torch::Tensor& weight, torch::Tensor& gradient, torch::Tensor& momentum) {
      const torch::Tensor g = gradient + o.weight_decay * weight;
      momentum = momentum.defined() ? o.momentum * momentum + g : g;
      gradient = torch::Tensor();
      return weight - config_.rate.base * (g + o.momentum * momentum);
    };
    const torch::Tensor weight = next(newest.weight, stage.gradient.weight, stage.momentum.weight);
    const torch::Tensor bias = next(newest.bias, stage.gradient.bias, stage.momentum.bias);
    stage.versions.push_back({weight, bias});
  }

  const TorchConfig config_;
  Batches batches_;
  std::vector<Stage> stages_;
  std::vector<std::string> names_;
};

struct StreamCase {
  std::string schedule;
  std::int32_t ranks;
};
void PrintTo(const StreamCase& c, std::ostream* out) { *out << c.schedule << " on " << c.ranks; }

class StaleWeights : public testing::TestWithParam<StreamCase> {
 protected:
  static Tensors model_of(const std::map<std::string, torch::Tensor>& state) {
    Tensors model;
    for (const auto& [name, tensor] : state) {
      if (name.starts_with("model.")) model[name.substr(6)] = tensor;
    }
    return model;
  }
};

TEST_P(StaleWeights, are_exactly_those_that_the_program_says) {
  const TorchConfig config = deep_mlp(GetParam().ranks);
  const Program what = program(GetParam().schedule, GetParam().ranks, 6);
  const Tensors actual = model_of(SmallRun(config, what).iterations(3).state());
  ByHand expected(config);
  expected.train(what, 3);
  EXPECT_LT(relative_error(actual, expected.weights()), 1e-12);
}

std::vector<StreamCase> streams() {
  std::vector<StreamCase> cases;
  for (const char* name : {"pipedream", "pipedream-2bw", "ddg", "features-replay", "pipelined-backprop", "fdg"}) {
    for (const std::int32_t ranks : {2, 4}) cases.push_back({name, ranks});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Schedules, StaleWeights, testing::ValuesIn(streams()), [](const auto& given) {
  std::string name = given.param.schedule + "_" + std::to_string(given.param.ranks);
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

// Convolutions, norms, attention and AdamW's updates in place: no formula by hand, but the runs must agree
// with themselves however ranks race, and a drained run goes on as it was left.
TEST(StageVersions, a_run_that_goes_on_from_its_state_is_bit_identical) {
  for (const char* name : {"pipedream", "pipedream-2bw", "features-replay", "fdg"}) {
    const TorchConfig config = vit(2);
    const Program what = program(name, 2, 4);
    SmallRun whole(config, what);
    const auto halfway = whole.iterations(2).state();
    std::map<std::string, torch::Tensor> kept;
    for (const auto& [key, tensor] : halfway) kept[key] = tensor.clone();
    const auto expected = whole.iterations(2).state();
    SmallRun resumed(config, what);
    resumed.ranks().each([&](Rank, Device& device) { dynamic_cast<TorchDevice&>(device).load(kept); });
    EXPECT_THAT(differences(resumed.rewind(2).iterations(2).state(), expected), testing::IsEmpty()) << name;
  }
}

TEST(StageVersions, backwards_at_stashed_weights_are_others_than_at_the_newest) {
  const TorchConfig config = vit(2);
  const auto stashed = SmallRun(config, program("pipedream", 2, 6)).iterations(1).state();
  const auto newest = SmallRun(config, program("ddg", 2, 6)).iterations(1).state();
  EXPECT_THAT(differences(stashed, newest), testing::Not(testing::IsEmpty()));
}

TEST(StageVersions, keep_one_copy_per_version_under_way) {
  torch::Tensor weight = torch::zeros({1000});
  StageVersions versions(WeightPolicy::stash, {{"w", weight}});
  const auto value = [&] { return weight[0].item<float>(); };
  for (Microbatch m = 0; m < 3; ++m) {
    { const auto scope = versions.forward(0, m, m); }
    versions.before_update(0, m);
    weight.fill_(static_cast<float>(m + 1));
  }
  EXPECT_EQ(versions.bytes(), 3 * 4000);
  {
    const auto scope = versions.backward(0, 1, 3);
    EXPECT_EQ(value(), 1);
  }
  EXPECT_EQ(value(), 3);
  for (Microbatch m = 0; m < 3; ++m) versions.release(0, m);
  EXPECT_EQ(versions.bytes(), 0);
  EXPECT_EQ(value(), 3);
}

}  // namespace
}  // namespace bubblescope
