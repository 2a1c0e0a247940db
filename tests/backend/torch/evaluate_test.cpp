// Evaluation against the whole model run by hand, and independence of how it is cut.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "backend/torch/training.hpp"
#include "tests/backend/thread_processes.hpp"
#include "tests/backend/torch/small_runs.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;

TEST(Evaluate, equals_the_whole_model_by_hand_wherever_it_is_cut) {
  const TorchConfig whole = resnet(1);
  const LayerGraph graph = build_model(whole.model);
  StageModule model(graph, 0, graph.size(), {});
  const Batch test = test_batch(*whole.data, 0, 40, torch::kFloat32);
  const torch::NoGradGuard no_grad;
  const torch::Tensor scores = model.forward(test.images, {.training = false});
  const double accuracy = scores.argmax(1).eq(test.labels).to(torch::kFloat64).mean().item<double>();
  const double loss = torch::nn::functional::cross_entropy(scores, test.labels).item<double>();
  for (const std::int32_t ranks : {1, 2, 4}) {
    const TorchConfig config = resnet(ranks);
    SmallRun run(config, program("gpipe", ranks, 2));
    const Evaluation result = evaluate(run.ranks(), config);
    EXPECT_DOUBLE_EQ(result.accuracy, accuracy);
    EXPECT_NEAR(result.loss, loss, 1e-6);
    EXPECT_TRUE(result.auxiliary_accuracy.empty());
  }
}

TEST(Evaluate, scores_the_auxiliary_heads_of_local_schedules) {
  const TorchConfig config = vit(2);
  SmallRun run(config, program("ppll", 2, 2));
  const Evaluation result = evaluate(run.ranks(), config);

  const LayerGraph graph = build_model(config.model);
  StageModule first(graph, 0, config.cuts[0], {});
  AuxiliaryModule head(build_auxiliaries(config.auxiliary, graph, config.cuts)[0], 0, {});
  const Batch test = test_batch(*config.data, 0, 40, torch::kFloat32);
  const torch::NoGradGuard no_grad;
  const ForwardContext context{.training = false};
  const torch::Tensor scores = head.logits(first.forward(test.images, context), context);
  ASSERT_EQ(result.auxiliary_accuracy.size(), 2u);
  EXPECT_DOUBLE_EQ(result.auxiliary_accuracy[0], scores.argmax(1).eq(test.labels).to(torch::kFloat64).mean().item<double>());
  EXPECT_TRUE(std::isnan(result.auxiliary_accuracy[1]));
}

/// In each of two processes, which have a rank each: `work` with the configuration that `config_of` gives that process.
std::vector<std::string> over_two_processes(const std::function<TorchConfig(std::int32_t)>& config_of, const std::function<void(Ranks&, const TorchConfig&)>& work) {
  return ThreadProcesses(2).run([&](World& world) {
    const TorchConfig config = config_of(world.process());
    const auto backend = torch_backend(config);
    Ranks ranks(*backend, program("ppll", 2, 2), {}, &world);
    work(ranks, config);
  });
}

// The CUDA backend computes in float32 where TF32 is asked for; what the configuration says is its own matter.
TEST(Evaluate, over_processes_copies_stages_as_the_backend_has_them) {
  const TorchConfig config = vit(2);
  SmallRun run(config, program("ppll", 2, 2));
  const Evaluation expected = evaluate(run.ranks(), config);
  const auto thrown = over_two_processes([&](std::int32_t) { return config; }, [&](Ranks& ranks, TorchConfig asked) {
    asked.precision = "tf32";
    const Evaluation found = evaluate(ranks, asked);
    EXPECT_EQ(found.loss, expected.loss);
    EXPECT_EQ(found.accuracy, expected.accuracy);
    EXPECT_EQ(found.auxiliary_accuracy[0], expected.auxiliary_accuracy[0]);
  });
  EXPECT_THAT(thrown, testing::Each(""));
}

// Process 0's model has a block more, whose weights nobody has; process 1 copies what it expects.
TEST(Evaluate, over_processes_a_copy_that_one_cannot_make_is_everybodys_failure) {
  const auto config_of = [](std::int32_t process) {
    TorchConfig config = vit(2);
    if (process == 0) config.model.depth = 5;
    return config;
  };
  const auto thrown = over_two_processes(config_of, [](Ranks& ranks, const TorchConfig& config) {
    EXPECT_THROW(evaluate(ranks, config), CommonError);
    ranks.world()->barrier();  // they go on together
  });
  EXPECT_THAT(thrown, testing::Each(""));
}

TEST(Evaluate, leaves_the_model_as_it_was) {
  const TorchConfig config = resnet(2);
  SmallRun evaluated(config, program("ppll", 2, 2)), plain(config, program("ppll", 2, 2));
  evaluated.iterations(1);
  evaluate(evaluated.ranks(), config);
  EXPECT_TRUE(differences(evaluated.iterations(1).state(), plain.iterations(2).state()).empty());
}

}  // namespace
}  // namespace bubblescope
