// Mixed precision: what is shortened, what is not, and that schedules still agree.
#include "backend/torch/autocast.hpp"

#include <gmock/gmock.h>

#include "tests/backend/torch/small_runs.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;
using testing::IsEmpty;

TorchConfig in_bfloat16(TorchConfig config) {
  config.precision = "bfloat16";
  return config;
}

Op op_of(Kind kind, Stage stage) {
  Op op;
  op.kind = kind;
  op.stage = static_cast<std::int16_t>(stage);
  op.microbatch = 0;
  return op;
}

TEST(Autocast, shortens_products_and_leaves_weights_and_the_thread_as_they_were) {
  const torch::Tensor x = torch::randn({2, 3}), w = torch::randn({4, 3}, torch::requires_grad());
  {
    const AutocastScope scope(torch::kCPU);
    const torch::Tensor y = at::linear(x, w, {});
    EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
    y.sum().backward();
    EXPECT_EQ(cast_as_scope_says(x).scalar_type(), torch::kBFloat16);
  }
  EXPECT_EQ(w.grad().scalar_type(), torch::kFloat32);
  EXPECT_FALSE(at::autocast::is_autocast_enabled(torch::kCPU));
  EXPECT_EQ(cast_as_scope_says(x).scalar_type(), torch::kFloat32);
}

TEST(Autocast, ppll_stays_bit_identical_to_serial_local_learning) {
  for (const TorchConfig& config : {in_bfloat16(resnet(2)), in_bfloat16(vit(2))}) {
    SmallRun serial(config, program("sequential-local", 2, 3)), ppll(config, program("ppll", 2, 3, {{"queue", "1"}}));
    EXPECT_THAT(differences(ppll.iterations(2).state(), serial.iterations(2).state()), IsEmpty()) << config.model.name;
    EXPECT_EQ(ppll.losses(), serial.losses());
  }
}

// bfloat16 has 8 bits of precision: a loss of some hundred roundings differs by percents at most, not at all by none.
TEST(Autocast, loss_is_near_that_of_full_precision_and_not_the_same) {
  for (const TorchConfig& config : {resnet(2), vit(2)}) {
    SmallRun full(config, program("1f1b", 2, 1)), mixed(in_bfloat16(config), program("1f1b", 2, 1));
    const double expected = full.iterations(1).losses().begin()->second, loss = mixed.iterations(1).losses().begin()->second;
    EXPECT_NE(loss, expected) << config.model.name;
    EXPECT_NEAR(loss, expected, 0.03 * expected) << config.model.name;
  }
}

TEST(Autocast, split_backward_gives_the_gradients_of_the_whole_one) {
  for (TorchConfig config : {in_bfloat16(resnet(2)), in_bfloat16(vit(2))}) {
    config.batch = 8;
    Program whole = program("1f1b", 2, 2), split = program("zb-h1", 2, 2);
    for (Program* what : {&whole, &split}) {
      for (auto& row : what->rows) std::erase_if(row, [](const Op& op) { return op.kind == Kind::U; });
    }
    SmallRun a(config, split), b(config, whole);
    EXPECT_LT(relative_error(a.iterations(1).gradients(), b.iterations(1).gradients()), 0.02) << config.model.name;
  }
}

TEST(Autocast, examples_have_the_type_of_real_messages) {
  for (const TorchConfig& config : {in_bfloat16(resnet(2)), in_bfloat16(vit(2)), resnet(2)}) {
    const auto shared = torch_shared(config);
    const Program what = program("1f1b", 2, 1);
    TorchDevice first(shared, 0, what), second(shared, 1, what);
    const auto type = [](const Payload& payload) { return std::static_pointer_cast<torch::Tensor>(payload.data)->scalar_type(); };
    first.execute(op_of(Kind::F, 0));
    const Payload activation = first.output(op_of(Kind::SEND_F, 0));
    EXPECT_EQ(type(second.example(op_of(Kind::RECV_F, 1))), type(activation)) << config.model.name;
    second.input(op_of(Kind::RECV_F, 1), activation);
    second.execute(op_of(Kind::F, 1));
    second.execute(op_of(Kind::B, 1));
    EXPECT_EQ(type(first.example(op_of(Kind::RECV_B, 0))), type(second.output(op_of(Kind::SEND_B, 1)))) << config.model.name;
  }
}

}  // namespace
}  // namespace bubblescope
