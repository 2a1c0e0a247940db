// Bidirectional schedules: two copies of the model that train as one.
#include <gmock/gmock.h>

#include <cmath>

#include "backend/torch/training.hpp"
#include "sim/core/error.hpp"
#include "tests/backend/torch/reference.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

/// The weights and statistics of a state, without what it calls them by.
Tensors state_of_model(const Tensors& state) {
  const std::string prefix = "model.";
  Tensors model;
  for (const auto& [name, tensor] : state) {
    if (name.starts_with(prefix)) model[name.substr(prefix.size())] = tensor;
  }
  return model;
}

struct CopiesCase {
  std::string schedule;
  std::int32_t ranks;
};
void PrintTo(const CopiesCase& c, std::ostream* out) { *out << c.schedule << " on " << c.ranks << " ranks"; }

class Copies : public testing::TestWithParam<CopiesCase> {
 protected:
  std::int32_t ranks() const { return GetParam().ranks; }
  std::int32_t microbatches() const { return 2 * ranks(); }
  Program schedule(Options options = {}) const { return program(GetParam().schedule, ranks(), microbatches(), std::move(options)); }
  TorchConfig config(TorchConfig (*model)(std::int32_t)) const {
    TorchConfig config = in_double(model(ranks()));
    config.batch = config.microbatch * microbatches();
    return config;
  }
};

TEST_P(Copies, stay_equal_bit_by_bit) {
  for (const auto model : {resnet, vit}) {
    SmallRun run(config(model), schedule());
    EXPECT_THAT(differences(run.copy(0), run.copy(1)), IsEmpty());
    auto before = run.copy(0);
    for (auto& [name, tensor] : before) tensor = tensor.clone();
    run.iterations(3);
    EXPECT_THAT(differences(run.copy(0), run.copy(1)), IsEmpty());
    EXPECT_EQ(differences(run.copy(0), before).size(), before.size());
  }
}

TEST_P(Copies, are_clipped_by_the_norm_of_one_and_train_as_the_un_pipelined_model) {
  TorchConfig given = config(vit);
  given.optimizer = {.name = "sgd", .momentum = 0.9, .nesterov = true, .weight_decay = 1e-4};
  given.clip_norm = 0.5;
  SmallRun run(given, schedule({{"clip", "1"}}));
  run.iterations(3);
  Reference reference(given);
  at::set_num_threads(1);
  Batches batches(given.data, {.batch = given.batch, .microbatch = 4, .microbatches = microbatches(), .augment = true, .precision = torch::kDouble});
  const Tensors expected = reference.train(given, batches, 3);
  EXPECT_LT(relative_error(run.copy(0), expected), 1e-12);
  EXPECT_THAT(differences(run.copy(0), run.copy(1)), IsEmpty());
}

TEST_P(Copies, go_on_from_the_state_of_one) {
  const TorchConfig given = config(resnet);
  SmallRun first(given, schedule()), second(given, schedule());
  Tensors state = first.iterations(2).state();
  for (auto& [name, tensor] : state) tensor = tensor.clone();
  second.ranks().each([&](Rank, Device& device) { dynamic_cast<TorchDevice&>(device).load(state); });
  EXPECT_THAT(differences(second.copy(0), state_of_model(state)), IsEmpty());
  EXPECT_THAT(differences(second.copy(1), state_of_model(state)), IsEmpty());
  second.rewind(2);
  EXPECT_THAT(differences(second.iterations(1).state(), first.iterations(1).state()), IsEmpty());
  EXPECT_THAT(differences(second.copy(0), second.copy(1)), IsEmpty());
}

TEST_P(Copies, are_evaluated_and_logged_as_one_model) {
  TorchConfig given = config(vit);
  SmallRun run(given, schedule()), plain(given, program("gpipe", ranks(), microbatches()));
  EXPECT_EQ(evaluate(run.ranks(), given).loss, evaluate(plain.ranks(), given).loss);
  const TrainingLog log = train(run.what(), run.ranks(), given, {.epochs = 1});
  const TrainingLog expected = train(plain.what(), plain.ranks(), given, {.epochs = 1});
  EXPECT_EQ(log.failure, "");
  ASSERT_EQ(log.losses.size(), expected.losses.size());
  for (std::size_t i = 0; i < log.losses.size(); ++i) EXPECT_NEAR(log.losses[i], expected.losses[i], 1e-9 * expected.losses[i]);
  EXPECT_EQ(log.epochs.front().test.accuracy, expected.epochs.front().test.accuracy);
}

INSTANTIATE_TEST_SUITE_P(Schedules, Copies,
                         testing::Values(CopiesCase{"chimera", 2}, CopiesCase{"chimera", 4}, CopiesCase{"dualpipe", 2}, CopiesCase{"dualpipe", 4}),
                         [](const auto& given) { return given.param.schedule + std::to_string(given.param.ranks); });

// Chimera's first direction has the even microbatches, the second the odd ones: what each gathers on its own.
TEST(Reduction, running_statistics_are_the_mean_of_what_each_copy_gathered) {
  const TorchConfig config = in_double(resnet(2));
  SmallRun run(config, without_updates(program("chimera", 2, 4)));
  const auto state = run.iterations(1).state();
  Reference even(config), odd(config);
  at::set_num_threads(1);
  Batches batches(config.data, {.batch = 16, .microbatch = 4, .microbatches = 4, .augment = true, .precision = torch::kDouble});
  for (const Microbatch m : {0, 1, 2, 3}) {
    (m % 2 == 0 ? even : odd).model.forward(batches.batch(0, m).images, {.microbatch = m});
  }
  Tensors actual, expected;
  for (std::size_t i = 0; i < even.model.buffers().size(); ++i) {
    const NamedTensor& buffer = even.model.buffers()[i];
    expected[buffer.name] = (buffer.tensor + odd.model.buffers()[i].tensor) / 2;
    actual[buffer.name] = state.at("model." + buffer.name);
  }
  ASSERT_FALSE(expected.empty());
  EXPECT_LT(relative_error(actual, expected), 1e-12);
}

TEST(Reduction, contributions_are_left_as_they_were) {
  const TorchConfig config = in_double(resnet(2));
  const auto device = device_of(config, program("chimera", 2, 2), 0);
  device->execute(op_of(Kind::F, 0));
  device->input(op_of(Kind::RECV_B, 0), device->example(op_of(Kind::RECV_B, 0)));
  device->execute(op_of(Kind::B, 0));
  auto& torch_device = dynamic_cast<TorchDevice&>(*device);
  const torch::Tensor parameter = torch_device.stages().front().module->parameters().front().tensor;
  const torch::Tensor own = parameter.grad();
  const torch::Tensor before = own.clone();
  const Op reduce = op_of(Kind::ALLREDUCE, 0, -1);
  // Its copy has had no microbatch, so what it brings is nothing: the sum is this rank's own, but not its tensor.
  const Payload mine = device->contribution(reduce);
  EXPECT_GT(mine.bytes, 0);
  const auto other = device_of(config, program("chimera", 2, 2), 0);
  const std::vector<Payload> both{mine, other->contribution(reduce)};
  device->reduced(reduce, both);
  EXPECT_FALSE(parameter.grad().is_alias_of(own));
  EXPECT_TRUE(same_bits(parameter.grad(), before));
  device->reduced(reduce, std::vector<Payload>{mine, mine});
  EXPECT_TRUE(same_bits(parameter.grad(), 2 * before));
  EXPECT_TRUE(same_bits(own, before));
}

TEST(Reduction, copies_that_would_update_apart_are_refused) {
  Program what = program("chimera", 2, 2);
  auto& row = what.rows[0];
  const auto last = std::find_if(row.begin(), row.end(), [](const Op& op) { return op.kind == Kind::ALLREDUCE && op.stage == 3; });
  std::rotate(row.begin(), last, last + 1);  // before the backwards, where it is of no use
  EXPECT_THAT(message_of<InputError>([&] { device_of(vit(2), what, 1); }), AllOf(HasSubstr("2 chains"), HasSubstr("ALLREDUCE"), HasSubstr("stage 3")));
}

TEST(Reduction, clipping_before_copies_are_added_up_is_refused) {
  TorchConfig config = vit(2);
  config.clip_norm = 1;
  Program what = program("chimera", 2, 2, {{"clip", "1"}});
  EXPECT_NO_THROW(device_of(config, what, 0));
  for (auto& row : what.rows) {
    const auto sync = std::find_if(row.begin(), row.end(), [](const Op& op) { return op.kind == Kind::SYNC; });
    std::rotate(sync - 2, sync, sync + 1);
  }
  EXPECT_THAT(message_of<InputError>([&] { device_of(config, what, 0); }), HasSubstr("SYNC"));
}

}  // namespace
}  // namespace bubblescope
