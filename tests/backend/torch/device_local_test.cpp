// The numerics of local losses: queues against sequential local learning and a plain loop, losses that reach
// back and replayed inputs against one process.
#include "backend/torch/device.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "sim/core/cost_list.hpp"
#include "sim/core/error.hpp"
#include "backend/calibrate.hpp"
#include "tests/backend/stream_runs.hpp"
#include "tests/backend/torch/reference.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

struct LocalCase {
  std::string name;
  TorchConfig (*config)(std::int32_t stages);
  std::int32_t ranks;
};
void PrintTo(const LocalCase& c, std::ostream* out) { *out << c.name << " on " << c.ranks << " ranks"; }

class LocalSchedules : public testing::TestWithParam<LocalCase> {};

/// 20 updates of every stage: 4 iterations of 5 microbatches.
TEST_P(LocalSchedules, ppll_is_bit_identical_to_serial_local_learning_for_every_queue) {
  const std::int32_t ranks = GetParam().ranks;
  const TorchConfig config = GetParam().config(ranks);
  SmallRun serial(config, program("sequential-local", ranks, 5));
  const auto expected = serial.iterations(4).state();
  const auto losses = serial.losses();
  ASSERT_EQ(losses.size(), 20u * static_cast<std::size_t>(ranks));
  for (const char* queue : {"0", "1", "2", "8"}) {
    for (const char* forward : {"early", "late"}) {
      SmallRun ppll(config, program("ppll", ranks, 5, {{"queue", queue}, {"forward", forward}}));
      EXPECT_THAT(differences(ppll.iterations(4).state(), expected), IsEmpty()) << "queue " << queue << ", " << forward;
      EXPECT_EQ(ppll.losses(), losses) << "queue " << queue << ", " << forward;
    }
  }
}

TEST_P(LocalSchedules, ppll_on_streams_is_bit_identical_to_serial_local_learning) {
  const std::int32_t ranks = GetParam().ranks;
  const TorchConfig config = GetParam().config(ranks);
  SmallRun serial(config, program("sequential-local", ranks, 5));
  const auto expected = serial.iterations(2).state();
  const auto losses = serial.losses();
  for (const char* queue : {"0", "1", "2"}) {
    for (const char* forward : {"early", "late"}) {
      SmallRun ppll(config, program("ppll", ranks, 5, {{"queue", queue}, {"forward", forward}}), late_at_random(*queue));
      EXPECT_THAT(differences(ppll.iterations(2).state(), expected), IsEmpty()) << "queue " << queue << ", " << forward;
      EXPECT_EQ(ppll.losses(), losses) << "queue " << queue << ", " << forward;
    }
  }
}

// What a missing event would do: without waits on other lanes inputs are not there, or are of another microbatch.
TEST(LocalLearning, on_streams_waits_that_are_left_out_show) {
  const TorchConfig config = vit(2);
  HostStreamOptions streams = late_at_random(1);
  streams.forget = [](std::int32_t, std::int32_t) { return true; };
  EXPECT_THROW(SmallRun(config, program("ppll", 2, 5), streams).iterations(2), RunError);
}

TEST_P(LocalSchedules, overlapping_stages_changes_nothing) {
  const std::int32_t ranks = GetParam().ranks;
  const TorchConfig config = GetParam().config(ranks);
  const auto expected = SmallRun(config, program("sequential-local", ranks, 5)).iterations(2).state();
  SmallRun overlapped(config, program("sequential-local", ranks, 5, {{"variant", "overlapped"}}));
  EXPECT_THAT(differences(overlapped.iterations(2).state(), expected), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Models, LocalSchedules,
                         testing::Values(LocalCase{"resnet", resnet, 2}, LocalCase{"resnet", resnet, 4},
                                         LocalCase{"vit", vit, 2}, LocalCase{"vit", vit, 4}),
                         [](const auto& given) { return given.param.name + std::to_string(given.param.ranks); });

/// Sequential local learning as every paper's loop has it: forward, loss, backward, step, detach.
TEST(LocalLearning, serial_equals_a_plain_training_loop) {
  for (const std::string auxiliary : {"dgl", "infopro"}) {
    TorchConfig config = resnet(3);
    config.auxiliary.name = auxiliary;
    const LayerGraph graph = build_model(config.model);
    const auto networks = build_auxiliaries(config.auxiliary, graph, config.cuts);
    const auto ranges = stage_ranges(graph, config.cuts);
    at::set_num_threads(1);

    Batches batches(config.data, {.batch = 4, .microbatch = 4, .augment = true});
    std::vector<std::unique_ptr<StageModule>> stages;
    std::vector<std::unique_ptr<AuxiliaryModule>> heads;
    std::vector<std::unique_ptr<PlainOptimizer>> optimizers;
    for (std::int32_t s = 0; s < 3; ++s) {
      const auto& range = ranges[static_cast<std::size_t>(s)];
      stages.push_back(std::make_unique<StageModule>(graph, range.first, range.last, ModuleOptions{}));
      heads.push_back(std::make_unique<AuxiliaryModule>(s == 2 ? output_loss() : networks[static_cast<std::size_t>(s)], s, ModuleOptions{}));
      auto parameters = tensors_of(stages.back()->parameters());
      for (const auto& t : tensors_of(heads.back()->parameters())) parameters.push_back(t);
      optimizers.push_back(reference_optimizer(config, parameters));
    }
    std::vector<double> last_losses;
    for (std::int64_t step = 0; step < 6; ++step) {
      const ForwardContext context{.iteration = step};
      const Batch batch = batches.batch(step, 0);
      torch::Tensor x = batch.images;
      for (std::size_t s = 0; s < 3; ++s) {
        optimizers[s]->zero_grad();
        const torch::Tensor features = stages[s]->forward(x, context);
        const torch::Tensor loss = heads[s]->loss(features, batch.labels, batches.pictures(step, 0), context);
        loss.backward();
        optimizers[s]->step();
        x = features.detach();
        if (s == 2) last_losses.push_back(loss.item<double>());
      }
    }

    SmallRun run(config, program("sequential-local", 3, 1));
    const auto state = run.iterations(6).state();
    for (std::size_t s = 0; s < 3; ++s) {
      for (const NamedTensor& t : stages[s]->parameters()) EXPECT_TRUE(t.tensor.equal(state.at("model." + t.name))) << t.name;
      for (const NamedTensor& t : stages[s]->buffers()) EXPECT_TRUE(t.tensor.equal(state.at("model." + t.name))) << t.name;
      for (const NamedTensor& t : heads[s]->parameters()) {
        EXPECT_TRUE(t.tensor.equal(state.at("auxiliary." + std::to_string(s) + "." + t.name))) << t.name;
      }
    }
    const auto losses = run.losses();
    for (std::int64_t step = 0; step < 6; ++step) EXPECT_EQ(losses.at({2, step, 0}), last_losses[static_cast<std::size_t>(step)]);
  }
}

// Four batches of 4 accumulated are the batch of 16 with the same samples: without dropout and batch
// statistics every gradient is a mean over samples.
TEST(LocalLearning, accumulated_gradients_equal_the_big_batch) {
  TorchConfig config = vit(2);
  config.model.dropout = 0;
  config.precision = "float64";
  config.augment = false;
  SmallRun accumulated(config, program("ppll", 2, 4, {{"accumulate", "4"}}));
  config.batch = config.microbatch = 16;
  SmallRun big(config, program("sequential-local", 2, 1));
  EXPECT_LT(relative_error(accumulated.iterations(3).state(), big.iterations(3).state()), 1e-12);
}

TEST(LocalLearning, every_stage_is_clipped_by_its_own_norm) {
  TorchConfig config = vit(2);
  config.model.dropout = 0;
  config.precision = "float64";
  config.optimizer = {.name = "sgd", .momentum = 0, .nesterov = false, .weight_decay = 0};
  config.rate.base = 1;
  config.clip_norm = 1e-3;  // far below any stage's norm, so every step has length clip_norm
  SmallRun run(config, program("ppll", 2, 1));
  Tensors before;
  for (const auto& [name, tensor] : run.state()) before[name] = tensor.clone();
  const auto after = run.iterations(1).state();
  double squares = 0;
  for (const auto& [name, tensor] : before) {
    if (name.starts_with("updates") || name.starts_with("optimizer")) continue;
    squares += std::pow((after.at(name) - tensor).norm().item<double>(), 2);
  }
  // norm / (norm + 1e-6) of each of two stages: within a few millionths of 2 clip_norm^2.
  EXPECT_NEAR(std::sqrt(squares / 2), 1e-3, 1e-7);
}

/// A plain process: loss j goes back through the model's stages j - N + 1 to j, whatever else there is.
std::map<std::string, torch::Tensor> interlocked_by_hand(const TorchConfig& config, std::int32_t losses, std::int32_t batches_count, std::int32_t iterations) {
  at::set_num_threads(1);
  const LayerGraph graph = build_model(config.model);
  const std::vector<StageRange> ranges = stage_ranges(graph, config.cuts);
  const auto auxiliaries = build_auxiliaries(config.auxiliary, graph, config.cuts);
  const ModuleOptions options{.dtype = torch::kFloat64, .seed = config.seed};
  const auto stages = static_cast<std::int32_t>(ranges.size());
  std::vector<StageModule> modules;
  std::vector<AuxiliaryModule> heads;
  std::vector<std::unique_ptr<PlainOptimizer>> optimizers;
  for (std::int32_t s = 0; s < stages; ++s) {
    const auto at = static_cast<std::size_t>(s);
    modules.emplace_back(graph, ranges[at].first, ranges[at].last, options);
    heads.emplace_back(s + 1 == stages ? output_loss() : auxiliaries[at], s, options);
    auto parameters = tensors_of(modules.back().parameters());
    for (const torch::Tensor& t : tensors_of(heads.back().parameters())) parameters.push_back(t);
    optimizers.push_back(reference_optimizer(config, parameters));
  }
  Batches data(config.data, {config.seed, config.batch, config.microbatch, batches_count, config.augment, torch::kFloat64});
  for (std::int32_t t = 0; t < batches_count * iterations; ++t) {
    const ForwardContext context{.seed = config.seed, .iteration = t / batches_count, .microbatch = t % batches_count};
    const Batch batch = data.batch(context.iteration, context.microbatch);
    std::vector<torch::Tensor> inputs{batch.images};  // of the stages, without history
    for (std::int32_t s = 0; s + 1 < stages; ++s) inputs.push_back(modules[static_cast<std::size_t>(s)].forward(inputs.back(), context).detach());
    for (auto& optimizer : optimizers) optimizer->zero_grad();
    // Of loss j alone reach only the stages' own parameters, its head included.
    for (std::int32_t j = 0; j < stages; ++j) {
      const std::int32_t first = std::max(0, j - losses + 1);
      torch::Tensor x = inputs[static_cast<std::size_t>(first)];
      for (std::int32_t s = first; s <= j; ++s) x = modules[static_cast<std::size_t>(s)].forward(x, context);
      heads[static_cast<std::size_t>(j)].loss(x, batch.labels, {}, context).backward();
    }
    for (auto& optimizer : optimizers) optimizer->step();
  }
  std::map<std::string, torch::Tensor> weights;
  for (const StageModule& module : modules) {
    for (const NamedTensor& t : module.parameters()) weights["model." + t.name] = t.tensor.detach();
  }
  return weights;
}

TEST(InterlockingTraining, equals_losses_that_go_back_through_n_stages_of_one_process) {
  for (const auto& [ranks, losses] : {std::pair{2, 2}, {4, 2}, {4, 3}, {4, 4}}) {
    TorchConfig config = vit(ranks);  // no running statistics: forwards may be repeated
    config.precision = "float64";
    const Program what = program("interlocking", ranks, 3, {{"losses", std::to_string(losses)}});
    const auto state = SmallRun(config, what).iterations(2).state();
    const auto expected = interlocked_by_hand(config, losses, 3, 2);
    std::map<std::string, torch::Tensor> actual;
    for (const auto& [name, tensor] : expected) actual[name] = state.at(name);
    EXPECT_LT(relative_error(actual, expected), 1e-12) << losses << " losses on " << ranks;
  }
}

/// Replay buffers feed nothing back, so one process can train stage after stage on what the program says.
TEST(AsyncDglTraining, equals_stages_trained_one_after_another_on_the_same_replayed_inputs) {
  TorchConfig config = resnet(2);
  config.microbatch = config.batch;
  ScheduleShape shape{2, 6, {{"buffer", "1"}}};
  shape.costs = [](const Program& placed) { return stage_costs(parse_cost_list("F=1:0.6,LB=2:1"), placed); };
  const Program what = add_send_recv(generate(find_schedule("async-dgl"), shape));
  const std::vector<Microbatch>& sources = what.sources.at(1);
  ASSERT_GT(std::count(sources.begin(), sources.end(), sources.front()), 1) << "nothing is replayed";
  const auto state = SmallRun(config, what).iterations(2).state();

  at::set_num_threads(1);
  const LayerGraph graph = build_model(config.model);
  const std::vector<StageRange> ranges = stage_ranges(graph, config.cuts);
  const auto auxiliaries = build_auxiliaries(config.auxiliary, graph, config.cuts);
  Batches data(config.data, {config.seed, config.batch, config.microbatch, 6, config.augment, torch::kFloat32});
  std::map<std::string, torch::Tensor> expected;
  std::vector<torch::Tensor> outputs;  // of the stage before, by step
  for (Stage s = 0; s < 2; ++s) {
    const auto at = static_cast<std::size_t>(s);
    StageModule module(graph, ranges[at].first, ranges[at].last, {.seed = config.seed});
    AuxiliaryModule head(s == 1 ? output_loss() : auxiliaries[at], s, {.seed = config.seed});
    auto parameters = tensors_of(module.parameters());
    for (const torch::Tensor& t : tensors_of(head.parameters())) parameters.push_back(t);
    const auto optimizer = reference_optimizer(config, parameters);
    std::vector<torch::Tensor> made;
    for (std::int64_t step = 0; step < 12; ++step) {
      const ForwardContext context{.seed = config.seed, .iteration = step / 6, .microbatch = step % 6};
      const Microbatch source = s == 0 ? static_cast<Microbatch>(context.microbatch) : sources[static_cast<std::size_t>(context.microbatch)];
      const Batch batch = data.batch(context.iteration, source);
      const torch::Tensor input = s == 0 ? batch.images : outputs[static_cast<std::size_t>(context.iteration * 6 + source)];
      const torch::Tensor output = module.forward(input, context);
      made.push_back(output.detach());
      optimizer->zero_grad();
      head.loss(output, batch.labels, {}, context).backward();
      optimizer->step();
    }
    outputs = std::move(made);
    for (const NamedTensor& t : module.parameters()) expected["model." + t.name] = t.tensor.detach();
  }
  std::map<std::string, torch::Tensor> actual;
  for (const auto& [name, tensor] : expected) actual[name] = state.at(name);
  EXPECT_THAT(differences(actual, expected), IsEmpty());
}

TEST(InterlockingTraining, is_clipped_by_each_stages_own_norm) {
  TorchConfig config = vit(2);
  config.clip_norm = 1e-3;
  const auto clipped = SmallRun(config, program("interlocking", 2, 2)).iterations(1).state();
  config.clip_norm = 0;
  EXPECT_THAT(differences(clipped, SmallRun(config, program("interlocking", 2, 2)).iterations(1).state()), testing::Not(IsEmpty()));
}

}  // namespace
}  // namespace bubblescope
