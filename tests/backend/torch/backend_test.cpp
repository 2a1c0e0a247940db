// What the CPU backend refuses before anything runs, and how it describes a run.
#include <gmock/gmock.h>

#include <functional>

#include "sim/core/error.hpp"
#include "tests/backend/torch/small_runs.hpp"

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

}  // namespace
}  // namespace bubblescope
