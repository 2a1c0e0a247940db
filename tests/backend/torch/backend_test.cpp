// Every synchronous pipeline of the registry on the CPU backend; what it refuses before anything runs, and
// how it describes a run.
#include <gmock/gmock.h>

#include <functional>

#include "sim/core/error.hpp"
#include "tests/backend/torch/reference.hpp"
#include "tests/sim/fitting_shape.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;
using testing::HasSubstr;

std::string refusal(const std::function<void(TorchConfig&)>& change) {
  TorchConfig config = vit(2);
  change(config);
  try {
    torch_backend(config);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(TorchBackend, refuses_parts_that_do_not_fit) {
  EXPECT_EQ(refusal([](TorchConfig&) {}), "accepted");
  EXPECT_THAT(refusal([](TorchConfig& c) { c.data = nullptr; }), HasSubstr("needs a data set"));
  EXPECT_THAT(refusal([](TorchConfig& c) { c.model.image = {3, 32, 32}; }), HasSubstr("the model expects another shape"));
  EXPECT_THAT(refusal([](TorchConfig& c) { c.model.classes = 100; }), HasSubstr("100 classes"));
  EXPECT_THAT(refusal([](TorchConfig& c) { c.precision = "float16"; }), HasSubstr("float16"));
  EXPECT_THAT(refusal([](TorchConfig& c) { c.optimizer.name = "adam"; }), HasSubstr("did you mean 'adamw'"));
  EXPECT_THAT(refusal([](TorchConfig& c) { c.microbatch = 3; }), HasSubstr("microbatches of 3"));
  EXPECT_THAT(refusal([](TorchConfig& c) { c.batch = c.microbatch = 65; }), HasSubstr("64 training samples"));
  EXPECT_THAT(refusal([](TorchConfig& c) { c.threads = 0; }), HasSubstr("threads"));
  EXPECT_NE(refusal([](TorchConfig& c) { c.cuts = {99}; }), "accepted");
  EXPECT_NE(refusal([](TorchConfig& c) { c.auxiliary.name = "nothing"; }), "accepted");
}

TEST(DescribeRun, differs_wherever_the_numbers_would) {
  const Program what = program("ppll", 2, 4);
  const TorchConfig base = vit(2);
  const auto expected = describe_run(base, what);
  const std::vector<std::function<void(TorchConfig&)>> changes = {
      [](TorchConfig& c) { c.model.depth = 5; },       [](TorchConfig& c) { c.model.dropout = 0.2; },
      [](TorchConfig& c) { c.auxiliary.blocks = 1; },  [](TorchConfig& c) { c.cuts = {1}; },
      [](TorchConfig& c) { c.augment = false; },       [](TorchConfig& c) { c.batch = 8; },
      [](TorchConfig& c) { c.optimizer.beta2 = 0.9; }, [](TorchConfig& c) { c.rate.base = 0.5; },
      [](TorchConfig& c) { c.rate.warmup = 3; },       [](TorchConfig& c) { c.clip_norm = 1; },
      [](TorchConfig& c) { c.seed = 1; },              [](TorchConfig& c) { c.precision = "float64"; },
      [](TorchConfig& c) { c.rate.schedule = "cosine"; }};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    TorchConfig config = base;
    changes[i](config);
    EXPECT_NE(describe_run(config, what), expected) << i;
  }
  EXPECT_NE(describe_run(base, program("gpipe", 2, 4)), expected);
  EXPECT_NE(describe_run(base, program("ppll", 2, 4, {{"accumulate", "2"}})), expected);
  TorchConfig longer = base;  // a run with a constant rate may be made longer
  longer.rate.total = 1000;
  EXPECT_EQ(describe_run(longer, what), expected);
}

/// A ViT of as many small blocks as there are stages, with dropout, for `microbatches` of 2 samples.
TorchConfig vit_of_blocks(std::int32_t stages, Microbatch microbatches) {
  TorchConfig config = vit(1);
  config.model.patch = 8;
  config.model.depth = stages;
  config.model.width = 12;
  config.cuts = partition(build_model(config.model), stages, "layers");
  config.precision = "float64";
  config.microbatch = 2;
  config.batch = 2 * microbatches;
  return config;
}

void expect_the_un_pipelined_gradients(const Program& order) {
  const TorchConfig config = vit_of_blocks(static_cast<std::int32_t>(order.chains.front().size()), order.microbatches);
  SmallRun run(config, without_updates(add_send_recv(add_copy_reduction(order))));
  const Tensors gradients = run.iterations(1).gradients();
  Reference reference(config);
  at::set_num_threads(1);
  Batches batches(config.data, {.batch = config.batch, .microbatch = 2, .microbatches = order.microbatches, .augment = true, .precision = torch::kDouble});
  reference.accumulate(batches, 0);
  EXPECT_LT(relative_error(gradients, reference.gradients()), 1e-12);
}

// Whether the order was searched, the backward split, the stages folded or the model there twice.
TEST(TorchBackend, every_synchronous_pipeline_gives_the_gradients_of_the_un_pipelined_model) {
  int ran = 0;
  for (const Schedule& schedule : schedules()) {
    if (schedule.local) continue;
    for (const std::int32_t ranks : {2, 4}) {
      SCOPED_TRACE(schedule.name + " on " + std::to_string(ranks));
      const Program order = generate_fitting(schedule, {.ranks = ranks, .microbatches = 2 * ranks});
      if (order.profile != Profile::backprop || order.weights != WeightPolicy::flush) continue;
      EXPECT_EQ(order.ranks(), ranks);
      expect_the_un_pipelined_gradients(order);
      ++ran;
    }
  }
  EXPECT_GE(ran, 2 * 21);
}

}  // namespace
}  // namespace bubblescope
