// Evaluation against the whole model run by hand, and independence of how it is cut.
#include <gtest/gtest.h>

#include <cmath>

#include "backend/torch/training.hpp"
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

TEST(Evaluate, leaves_the_model_as_it_was) {
  const TorchConfig config = resnet(2);
  SmallRun evaluated(config, program("ppll", 2, 2)), plain(config, program("ppll", 2, 2));
  evaluated.iterations(1);
  evaluate(evaluated.ranks(), config);
  EXPECT_TRUE(differences(evaluated.iterations(1).state(), plain.iterations(2).state()).empty());
}

}  // namespace
}  // namespace bubblescope
