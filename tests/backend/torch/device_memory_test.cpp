// What a device says it holds, against hand counts, malloc's own figures and the analytic costs.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <malloc.h>

#include "backend/torch/device.hpp"
#include "sim/lower/recompute.hpp"
#include "sim/workload/analytic.hpp"
#include "tests/backend/torch/reference.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;
using testing::AllOf;

constexpr std::int64_t kWeights = 4 * (64 * 192 + 64 + 64 * 64 + 64), kImages = 4 * 32 * 192, kHidden = 4 * 32 * 64, kSlack = 1024;

testing::Matcher<std::int64_t> near(std::int64_t bytes) { return AllOf(testing::Ge(bytes), testing::Le(bytes + kSlack)); }

/// Two hidden layers of 64 on 3 x 8 x 8 images in microbatches of 32; the first of two stages has both.
TorchConfig mlp(std::int32_t stages) {
  TorchConfig config = resnet(1);
  config.model = {};
  config.model.name = "mlp";
  config.auxiliary.name = "greedy";
  config.model.image = {3, 8, 8};
  config.model.depth = 2;
  config.model.width = 64;
  config.data = std::make_shared<DataSet>(generate_data_set({.samples = 64, .test_samples = 4, .image = {3, 8, 8}}));
  config.augment = false;
  config.batch = config.microbatch = 32;
  config.cuts = stages == 2 ? std::vector<std::int32_t>{2} : std::vector<std::int32_t>{1, 2};
  return config;
}

// An MLP's stage 0 of two: weights [64, 192] and [64, 64] with biases. SGD with momentum holds weights
// and momentum between iterations, in 4 bytes each. A microbatch between F and B holds what the backward
// of linear and ReLU needs: the images (flattened, a view) and both ReLUs' outputs, the second of which is the output; and
// its loss nowhere. malloc rounds each of these up, by less than 64 bytes with its alignment.
TEST(DeviceMemory, counts_the_bytes_it_holds_with_those_of_autograd) {
  const auto device = device_of(mlp(2), program("gpipe", 2, 2), 0);
  const auto held = [&] { return device->memory().now; };
  EXPECT_EQ(held(), kWeights);
  device->execute(op_of(Kind::F, 0));
  EXPECT_THAT(held(), near(kWeights + kImages + 2 * kHidden));
  EXPECT_GE(device->memory().peak, held());
  const Payload sent = device->output(op_of(Kind::SEND_F, 0));
  EXPECT_EQ(sent.bytes, kHidden);
  EXPECT_THAT(held(), near(kWeights + kImages + 2 * kHidden));  // for B
  device->input(op_of(Kind::RECV_B, 0), device->example(op_of(Kind::RECV_B, 0)));
  EXPECT_THAT(held(), near(kWeights + kImages + 3 * kHidden));  // with the gradient of the output
  device->execute(op_of(Kind::B, 0));
  EXPECT_EQ(held(), 2 * kWeights);
  EXPECT_GE(device->memory().peak, 2 * kWeights + kImages + 2 * kHidden);  // both at once, at the end of B
  device->execute(op_of(Kind::U, 0, -1));
  EXPECT_EQ(held(), 2 * kWeights);  // momentum instead of gradients
}

// The same stage where R runs the forward again: from F to R it holds the images alone, and the output until that is
// taken; then what F holds else.
TEST(DeviceMemory, of_a_forward_that_runs_again_it_holds_the_input_alone) {
  const auto device = device_of(mlp(2), with_recompute(program("gpipe", 2, 2), "all"), 0);
  const auto held = [&] { return device->memory().now; };
  device->execute(op_of(Kind::F, 0));
  EXPECT_THAT(held(), near(kWeights + kImages + kHidden));
  device->output(op_of(Kind::SEND_F, 0));
  EXPECT_THAT(held(), near(kWeights + kImages));
  device->execute(op_of(Kind::R, 0));
  EXPECT_THAT(held(), near(kWeights + kImages + 2 * kHidden));
  device->input(op_of(Kind::RECV_B, 0), device->example(op_of(Kind::RECV_B, 0)));
  device->execute(op_of(Kind::B, 0));
  EXPECT_EQ(held(), 2 * kWeights);
}

// With early forwarding the output is on its way while the stage still needs it, and is counted once.
TEST(DeviceMemory, counts_a_local_stages_output_once_and_not_after_it_was_sent) {
  const TorchConfig config = vit(2);
  const auto device = device_of(config, program("ppll", 2, 2), 0);
  device->execute(op_of(Kind::F, 0));
  const std::int64_t with_output = device->memory().now;
  const Payload sent = device->output(op_of(Kind::SEND_F, 0));
  EXPECT_EQ(device->memory().now, with_output);
  device->execute(op_of(Kind::A, 0));
  device->execute(op_of(Kind::LB, 0));
  device->execute(op_of(Kind::U, 0));
  const std::int64_t resident = device->memory().now;
  device->execute(op_of(Kind::F, 0, 1));
  device->execute(op_of(Kind::A, 0, 1));
  device->execute(op_of(Kind::LB, 0, 1));  // late: sent only now
  device->execute(op_of(Kind::U, 0, 1));
  EXPECT_EQ(device->memory().now, resident + sent.bytes);
  device->output(op_of(Kind::SEND_F, 0, 1));
  EXPECT_EQ(device->memory().now, resident);
}

// As above, with the backward split. I frees the second ReLU's output (the other one is the second linear
// layer's input) and makes the gradients of both linear layers' outputs; W frees all.
TEST(DeviceMemory, holds_layer_inputs_and_output_gradients_from_i_to_w) {
  const auto device = device_of(mlp(2), program_of({"0F0,0F1,0I0,0I1,0W1,0W0,0U", "1F0,1F1,1I0,1I1,1W1,1W0,1U"}), 0);
  const auto held = [&] { return device->memory().now; };
  const auto forth = [&](Microbatch microbatch) {
    device->execute(op_of(Kind::F, 0, microbatch));
    device->output(op_of(Kind::SEND_F, 0, microbatch));
    device->input(op_of(Kind::RECV_B, 0, microbatch), device->example(op_of(Kind::RECV_B, 0)));
  };
  for (const Microbatch microbatch : {0, 1}) forth(microbatch);
  EXPECT_THAT(held(), near(kWeights + 2 * (kImages + 3 * kHidden)));
  device->execute(op_of(Kind::I, 0, 0));
  EXPECT_THAT(held(), near(kWeights + (kImages + 3 * kHidden) + (kImages + 3 * kHidden)));
  device->execute(op_of(Kind::I, 0, 1));
  EXPECT_THAT(held(), near(kWeights + 2 * (kImages + 3 * kHidden)));
  device->execute(op_of(Kind::W, 0, 1));
  EXPECT_THAT(held(), near(2 * kWeights + kImages + 3 * kHidden));
  device->execute(op_of(Kind::W, 0, 0));
  EXPECT_EQ(held(), 2 * kWeights);
  device->execute(op_of(Kind::U, 0, -1));
  EXPECT_EQ(held(), 2 * kWeights);
}

// The output of one stage is the input of the next, in the same memory.
TEST(DeviceMemory, counts_what_two_stages_of_a_rank_share_once) {
  const auto device = device_of(mlp(3), program_of({"0F0,1F0,1I0,1W0,0I0,0W0,0U,1U", "2F0,2I0,2W0,2U"}), 0);
  const auto held = [&] { return device->memory().now; };
  device->execute(op_of(Kind::F, 0));
  device->execute(op_of(Kind::F, 1));
  device->output(op_of(Kind::SEND_F, 1));
  device->input(op_of(Kind::RECV_B, 1), device->example(op_of(Kind::RECV_B, 1)));
  EXPECT_THAT(held(), near(kWeights + kImages + 3 * kHidden));
  device->execute(op_of(Kind::I, 1));  // its ReLU is gone; two gradients are there, one for each stage
  EXPECT_THAT(held(), near(kWeights + kImages + 3 * kHidden));
  device->execute(op_of(Kind::I, 0));
  EXPECT_THAT(held(), near(kWeights + kImages + 3 * kHidden));
  device->execute(op_of(Kind::W, 1));
  device->execute(op_of(Kind::W, 0));
  EXPECT_EQ(held(), 2 * kWeights);
}

// --- against malloc and the analytic costs --------------------------------------------------------

struct ModelCase {
  std::string name;
  TorchConfig (*config)(std::int32_t stages);
};
void PrintTo(const ModelCase& c, std::ostream* out) { *out << c.name; }

TorchConfig big_resnet(std::int32_t stages) {
  TorchConfig config = resnet(stages);
  config.batch = config.microbatch = 32;
  return config;
}
TorchConfig big_vit(std::int32_t stages) {
  TorchConfig config = vit(stages);
  config.batch = config.microbatch = 32;
  return config;
}

/// Wide, so that what the loss keeps is little beside the layers.
TorchConfig wide_mlp(std::int32_t stages) {
  TorchConfig config = mlp(stages);
  config.model.width = 1024;
  return config;
}

class SplitMemory : public testing::TestWithParam<ModelCase> {
 protected:
  /// Bytes that one microbatch holds after each op, by what the device says and by what malloc does.
  struct Use {
    std::int64_t said = 0, allocated = 0;
  };
  struct Uses {
    Use after_f, after_i, after_w;
  };

  /// Of the second microbatch: by then all gradients exist, and libraries have what they cache.
  static Uses measure(Stage stage) {
    const auto device = device_of(GetParam().config(3), program_of({"0F0,0I0,0W0,0F1,0I1,0W1,0U", "1F0,1I0,1W0,1F1,1I1,1W1,1U",
                                                                    "2F0,2I0,2W0,2F1,2I1,2W1,2U"}), stage);
    Uses uses;
    for (const Microbatch microbatch : {0, 1}) {
      const auto now = [&]() -> Use {
        const auto info = mallinfo2();
        return {device->memory().now, static_cast<std::int64_t>(info.uordblks + info.hblkhd)};
      };
      const Use before = now();
      const auto since = [&] {
        const Use use = now();
        return Use{use.said - before.said, use.allocated - before.allocated};
      };
      if (stage > 0) device->input(op_of(Kind::RECV_F, stage, microbatch), device->example(op_of(Kind::RECV_F, stage)));
      device->execute(op_of(Kind::F, stage, microbatch));
      if (stage < 2) device->output(op_of(Kind::SEND_F, stage, microbatch));
      uses.after_f = since();
      if (stage < 2) device->input(op_of(Kind::RECV_B, stage, microbatch), device->example(op_of(Kind::RECV_B, stage)));
      device->execute(op_of(Kind::I, stage, microbatch));
      if (stage > 0) device->output(op_of(Kind::SEND_B, stage, microbatch));
      uses.after_i = since();
      device->execute(op_of(Kind::W, stage, microbatch));
      uses.after_w = since();
    }
    return uses;
  }
};

INSTANTIATE_TEST_SUITE_P(Models, SplitMemory,
                         testing::Values(ModelCase{"resnet32", big_resnet}, ModelCase{"vit", big_vit}, ModelCase{"mlp", wide_mlp}),
                         [](const auto& given) { return given.param.name; });

// Graph nodes and the like are malloc's, but no tensors.
TEST_P(SplitMemory, what_a_device_says_is_what_malloc_gave) {
  for (const Stage stage : {0, 1, 2}) {
    const Uses uses = measure(stage);
    if (mallinfo2().uordblks == 0) GTEST_SKIP() << "malloc does not count here";
    constexpr double kNodes = 256 * 1024;
    EXPECT_NEAR(static_cast<double>(uses.after_f.said), static_cast<double>(uses.after_f.allocated), kNodes) << "stage " << stage;
    EXPECT_NEAR(static_cast<double>(uses.after_i.said), static_cast<double>(uses.after_i.allocated), kNodes) << "stage " << stage;
    EXPECT_NEAR(static_cast<double>(uses.after_w.allocated), 0, kNodes) << "stage " << stage;
    EXPECT_EQ(uses.after_w.said, 0);
    // An MLP's layers have little but inputs and output gradients.
    if (GetParam().name != "mlp") {
      EXPECT_LT(uses.after_i.said, uses.after_f.said) << "stage " << stage;
    }
  }
}

// Left out there: statistics of norms, what the loss keeps, malloc's rounding.
TEST_P(SplitMemory, the_analytic_costs_are_right_within_10_percent) {
  const TorchConfig config = GetParam().config(3);
  AnalyticOptions options;
  options.device.flops = options.device.memory_bandwidth = 1e9;
  const Costs costs = analytic_costs(build_model(config.model), config.cuts, {}, options, std::vector{config.microbatch});
  for (const Stage stage : {0, 1, 2}) {
    const Uses uses = measure(stage);
    const StageBytes bytes = costs.at(config.microbatch).bytes(stage);
    EXPECT_NEAR(static_cast<double>(bytes.activations) / static_cast<double>(uses.after_f.said), 1, 0.1) << "stage " << stage;
    EXPECT_NEAR(static_cast<double>(bytes.activations_until_w) / static_cast<double>(uses.after_i.said), 1, 0.1) << "stage " << stage;
    RecordProperty("stage" + std::to_string(stage), fmt::format("{} {} {}", uses.after_f.said, uses.after_i.said, uses.after_w.said));
  }
}

}  // namespace
}  // namespace bubblescope
