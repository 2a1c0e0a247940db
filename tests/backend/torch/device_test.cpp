// The numerics of real runs: local schedules against sequential local learning and a plain loop,
// pipelines against the un-pipelined model; and what a device refuses.
#include "backend/torch/device.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "sim/core/cost_list.hpp"
#include "sim/core/error.hpp"
#include "backend/calibrate.hpp"
#include "tests/backend/torch/reference.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

// --- local schedules ------------------------------------------------------------------------------

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
    std::vector<std::unique_ptr<torch::optim::Optimizer>> optimizers;
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

// --- pipelines ------------------------------------------------------------------------------------

struct PipelineCase {
  std::string schedule;
  std::int32_t ranks;
  std::int32_t chunks;
};
void PrintTo(const PipelineCase& c, std::ostream* out) { *out << c.schedule << " on " << c.ranks << " ranks"; }

class Pipelines : public testing::TestWithParam<PipelineCase> {
 protected:
  Program pipeline(std::int32_t microbatches, Options more = {}) const {
    if (GetParam().chunks > 1) more["chunks"] = std::to_string(GetParam().chunks);
    return program(GetParam().schedule, GetParam().ranks, microbatches, more);
  }
  std::int32_t stages() const { return GetParam().ranks * GetParam().chunks; }
};

// Batch norm normalises every microbatch by its own statistics here, and so does the reference.
TEST_P(Pipelines, gradients_equal_the_un_pipelined_model) {
  for (const auto model : {resnet, vit}) {
    const TorchConfig config = in_double(model(stages()));
    SmallRun run(config, without_updates(pipeline(4)));
    const auto gradients = run.iterations(1).gradients();
    Reference reference(config);
    at::set_num_threads(1);
    Batches batches(config.data, {.batch = 16, .microbatch = 4, .microbatches = 4, .augment = true, .precision = torch::kDouble});
    reference.accumulate(batches, 0);
    EXPECT_LT(relative_error(gradients, reference.gradients()), 1e-12);
    // All three schedules run a stage's backwards in the reference's order: not a bit differs.
    EXPECT_THAT(differences(gradients, reference.gradients()), IsEmpty());
    const auto state = run.state();
    for (const NamedTensor& t : reference.model.buffers()) EXPECT_TRUE(t.tensor.equal(state.at("model." + t.name))) << t.name;
  }
}

// With frozen statistics a microbatch's samples do not see each other: four microbatches are the batch.
TEST_P(Pipelines, frozen_batch_norm_makes_microbatches_equal_the_whole_batch) {
  TorchConfig config = in_double(resnet(stages()));
  config.model.batchnorm = "frozen";
  const auto gradients = SmallRun(config, without_updates(pipeline(4))).iterations(1).gradients();
  Reference reference(config);
  Batches whole(config.data, {.batch = 16, .microbatch = 16, .augment = true, .precision = torch::kDouble});
  reference.accumulate(whole, 0);
  EXPECT_LT(relative_error(gradients, reference.gradients()), 1e-12);
}

TEST_P(Pipelines, clipping_by_the_global_norm_equals_torchs_on_the_un_pipelined_model) {
  TorchConfig config = in_double(vit(stages()));
  config.optimizer = {.name = "sgd", .momentum = 0.9, .nesterov = true, .weight_decay = 1e-4};
  config.clip_norm = 0.5;
  const auto state = SmallRun(config, pipeline(4, {{"clip", "1"}})).iterations(3).state();

  Reference reference(config);
  Batches batches(config.data, {.batch = 16, .microbatch = 4, .microbatches = 4, .augment = true, .precision = torch::kDouble});
  const Tensors expected = reference.train(config, batches, 3);
  Tensors actual;
  for (const auto& [name, tensor] : expected) actual[name] = state.at("model." + name);
  EXPECT_LT(relative_error(actual, expected), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Schedules, Pipelines,
                         testing::Values(PipelineCase{"naive", 2, 1}, PipelineCase{"gpipe", 2, 1}, PipelineCase{"gpipe", 4, 1},
                                         PipelineCase{"1f1b", 2, 1}, PipelineCase{"1f1b", 4, 1},
                                         PipelineCase{"interleaved-1f1b", 2, 2}),
                         [](const auto& given) {
                           std::string name = given.param.schedule + std::to_string(given.param.ranks);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// --- split backward -------------------------------------------------------------------------------

struct SplitCase {
  std::string name;
  std::vector<std::string> rows;
  bool ascending;  ///< every stage adds up its weight gradients in the reference's order
};
void PrintTo(const SplitCase& c, std::ostream* out) { *out << c.name; }

class SplitPipelines : public testing::TestWithParam<SplitCase> {
 protected:
  static Program split() { return add_send_recv(program_of(GetParam().rows)); }
  static TorchConfig config(TorchConfig (*model)(std::int32_t)) {
    TorchConfig config = in_double(model(split().stages()));
    config.batch = 4 * split().microbatches;
    return config;
  }
  static Batches batches(const TorchConfig& config) {
    return Batches(config.data, {.batch = config.batch, .microbatch = 4, .microbatches = config.batch / 4, .augment = true,
                                 .precision = torch::kDouble});
  }
};

TEST_P(SplitPipelines, gradients_equal_the_un_pipelined_model) {
  for (const auto model : {resnet, vit}) {
    const TorchConfig given = config(model);
    const auto gradients = SmallRun(given, without_updates(split())).iterations(1).gradients();
    Reference reference(given);
    at::set_num_threads(1);
    Batches data = batches(given);
    reference.accumulate(data, 0);
    EXPECT_LT(relative_error(gradients, reference.gradients()), 1e-12);
    if (GetParam().ascending) {
      EXPECT_THAT(differences(gradients, reference.gradients()), IsEmpty());
    }
  }
}

TEST_P(SplitPipelines, training_with_clipping_equals_the_un_pipelined_model) {
  TorchConfig given = config(vit);
  given.optimizer = {.name = "sgd", .momentum = 0.9, .nesterov = true, .weight_decay = 1e-4};
  given.clip_norm = 0.5;
  Program what = split();
  for (auto& row : what.rows) {
    const auto update = std::find_if(row.begin(), row.end(), [](const Op& op) { return op.kind == Kind::U; });
    row.insert(update, op_of(Kind::SYNC, update->stage, -1));
  }
  const auto state = SmallRun(given, what).iterations(3).state();
  Reference reference(given);
  at::set_num_threads(1);
  Batches data = batches(given);
  const Tensors expected = reference.train(given, data, 3);
  Tensors actual;
  for (const auto& [name, tensor] : expected) actual[name] = state.at("model." + name);
  EXPECT_LT(relative_error(actual, expected), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(
    Schedules, SplitPipelines,
    testing::Values(
        SplitCase{"w_fills_bubbles",
                  {"0F0,0F1,0I0,0F2,0W0,0I1,0F3,0W1,0I2,0W2,0I3,0W3,0U", "1F0,1I0,1F1,1I1,1W0,1F2,1I2,1W1,1F3,1I3,1W2,1W3,1U"},
                  true},
        SplitCase{"w_last_and_backwards",
                  {"0F0,0F1,0F2,0F3,0I0,0I1,0I2,0I3,0W3,0W2,0W1,0W0,0U", "1F0,1F1,1F2,1F3,1I0,1I1,1I2,1I3,1W2,1W0,1W3,1W1,1U"},
                  false},
        SplitCase{"two_stages_per_rank",
                  {"0F0,0F1,2F0,2F1,2I0,2I1,0I0,0I1,2W0,0W0,0W1,2W1,0U,2U", "1F0,1F1,3F0,3I0,3F1,3I1,1I0,1I1,3W0,1W0,3W1,1W1,1U,3U"},
                  true},
        SplitCase{"neighbours_on_one_rank", {"0F0,1F0,0F1,1F1,1I0,0I0,1I1,0I1,0W0,1W0,1W1,0W1,0U,1U"}, true},
        // Parts of a compound run in order; some microbatches are not split, or not at every stage.
        SplitCase{"compounds_and_full_backwards",
                  {"0F0,0F1,(0F2;0I0)OVERLAP_F_B,0W0,(0F3;0B1)OVERLAP_F_B,0I2,0W2,0B3,0U", "1F0,1B0,1F1,1I1,1F2,1I2,1W1,1W2,1F3,1B3,1U"},
                  true}),
    [](const auto& given) { return given.param.name; });

// --- what a device refuses and reports -------------------------------------------------------------

TEST(TorchDevice, a_diverged_loss_ends_the_run_and_names_op_stage_and_iteration) {
  TorchConfig config = vit(2);
  config.optimizer = {.name = "sgd"};
  config.rate.base = 1e30;
  SmallRun run(config, program("ppll", 2, 2));
  EXPECT_THAT(message_of<RunError>([&] { run.iterations(5); }), AllOf(HasSubstr("A"), HasSubstr("the loss of stage"), HasSubstr("in iteration"), HasSubstr("diverged")));
}

TEST(TorchDevice, ops_it_cannot_run_are_refused_by_name) {
  const auto device = device_of(vit(2), program("gpipe", 2, 2), 0);
  EXPECT_THAT(message_of<RunError>([&] { device->execute(op_of(Kind::LOAD, 0)); }),
              AllOf(HasSubstr("0LOAD0"), HasSubstr("not available in the CPU backend")));
  EXPECT_THAT(message_of<RunError>([&] { device->execute(op_of(Kind::F, 1)); }), HasSubstr("does not hold stage 1"));
  EXPECT_THAT(message_of<RunError>([&] { device->execute(op_of(Kind::B, 0)); }), HasSubstr("its forward has not run"));
  device->execute(op_of(Kind::F, 0));
  EXPECT_THAT(message_of<RunError>([&] { device->execute(op_of(Kind::B, 0)); }), HasSubstr("there is no gradient of its output"));
}

TEST(TorchDevice, weight_gradients_come_after_their_input_gradient_and_before_the_update) {
  const auto device = device_of(vit(2), program_of({"0F0,0F1,0I0,0W0,0B1,0U", "1F0,1F1,1I0,1W0,1B1,1U"}), 1);
  const auto run = [&](Kind kind, Microbatch microbatch) { return message_of<RunError>([&] { device->execute(op_of(kind, 1, microbatch)); }); };
  for (const Microbatch microbatch : {0, 1}) {
    device->input(op_of(Kind::RECV_F, 1, microbatch), device->example(op_of(Kind::RECV_F, 1)));
    device->execute(op_of(Kind::F, 1, microbatch));
  }
  EXPECT_THAT(run(Kind::W, 0), AllOf(HasSubstr("1W0"), HasSubstr("its I has not run")));
  EXPECT_THAT(run(Kind::B, 0), AllOf(HasSubstr("1B0"), HasSubstr("another backward")));
  EXPECT_THAT(run(Kind::I, 1), AllOf(HasSubstr("1I1"), HasSubstr("another backward")));
  device->execute(op_of(Kind::B, 1, 1));
  device->execute(op_of(Kind::I, 1, 0));
  EXPECT_THAT(run(Kind::U, -1), AllOf(HasSubstr("1U"), HasSubstr("of microbatch 0 of iteration 0 still wait for their W")));
  device->execute(op_of(Kind::W, 1, 0));
  EXPECT_THAT(run(Kind::W, 0), HasSubstr("its I has not run"));
  EXPECT_EQ(run(Kind::U, -1), "nothing was thrown");
}

TEST(TorchDevice, clipping_in_a_pipeline_without_a_barrier_is_refused) {
  TorchConfig config = vit(2);
  config.clip_norm = 1;
  Program what = program("gpipe", 2, 2);
  EXPECT_THAT(message_of<InputError>([&] { device_of(config, what, 0); }), HasSubstr("SYNC"));
  what.rows[0].push_back(op_of(Kind::SYNC, -1, -1));  // after the update, where it is of no use
  EXPECT_THAT(message_of<InputError>([&] { device_of(config, what, 0); }), HasSubstr("SYNC"));
  // Nor before the last weight gradients.
  Program split = program_of({"0F0,0I0,0W0,0U", "1F0,1I0,1W0,1U"});
  for (auto& row : split.rows) row.insert(row.begin() + 2, op_of(Kind::SYNC, -1, -1));
  EXPECT_THAT(message_of<InputError>([&] { device_of(config, split, 0); }), HasSubstr("SYNC"));
}

TEST(TorchDevice, a_schedule_of_another_number_of_stages_is_refused) {
  EXPECT_THAT(message_of<InputError>([] { device_of(vit(2), program("gpipe", 4, 2), 0); }),
              AllOf(HasSubstr("4 stages per chain"), HasSubstr("cut into 2")));
  EXPECT_THAT(message_of<InputError>([] { device_of(vit(2), program("chimera", 4, 4), 0); }),
              AllOf(HasSubstr("4 stages per chain"), HasSubstr("cut into 2")));
}

// As calibration does: the ops of one stage again and again, fed with examples.
TEST(TorchDevice, single_stages_run_on_examples_and_hold_no_more_each_time) {
  const TorchConfig config = resnet(3);
  const auto middle = device_of(config, program("1f1b", 3, 4), 1);
  std::vector<std::int64_t> held;
  for (int repeat = 0; repeat < 4; ++repeat) {
    middle->input(op_of(Kind::RECV_F, 1), middle->example(op_of(Kind::RECV_F, 1)));
    middle->execute(op_of(Kind::F, 1));
    middle->input(op_of(Kind::RECV_B, 1), middle->example(op_of(Kind::RECV_B, 1)));
    middle->execute(op_of(Kind::B, 1));
    middle->execute(op_of(Kind::U, 1));
    held.push_back(middle->memory().now);
  }
  EXPECT_EQ(held[1], held[3]);
  const auto local = device_of(config, program("ppll", 3, 4), 1);
  for (int repeat = 0; repeat < 3; ++repeat) {
    local->input(op_of(Kind::RECV_F, 1), local->example(op_of(Kind::RECV_F, 1)));
    for (const Kind kind : {Kind::F, Kind::A, Kind::LB, Kind::U}) local->execute(op_of(kind, 1));
    EXPECT_TRUE(std::isfinite(local->last_loss()));
  }
}

// Calibration trains on noise, and afterwards nobody can tell.
TEST(TorchDevice, calibration_leaves_no_trace) {
  const Program split = add_send_recv(program_of({"0F0,0F1,0I0,0W0,0I1,0W1,0U", "1F0,1I0,1F1,1I1,1W1,1W0,1U"}));
  // A slow stage that misses outputs, and a fast one that replays.
  std::vector<Program> replaying;
  for (const char* costs : {"F=1:2,LB=2:4", "F=1:0.5,LB=2:1"}) {
    ScheduleShape shape{2, 4, {{"buffer", "1"}}};
    shape.costs = [costs](const Program& placed) { return stage_costs(parse_cost_list(costs), placed); };
    replaying.push_back(add_send_recv(generate(find_schedule("async-dgl"), shape)));
  }
  for (const Program& what : {program("ppll", 2, 2), program("gpipe", 2, 2), split, program("chimera", 2, 2), program("pipedream-2bw", 2, 2),
                              program("features-replay", 2, 2), program("fdg", 2, 2), program("interlocking", 2, 2), replaying[0], replaying[1]}) {
    const TorchConfig config = vit(2);
    SmallRun straight(config, what), calibrated(config, what);
    straight.iterations(1).iterations(1);  // a stream drains in between
    calibrated.iterations(1);
    auto before = calibrated.state();
    for (auto& [name, tensor] : before) tensor = tensor.clone();
    CalibrateOptions options;
    options.rounds = 1;
    options.waits = 1;
    const Calibration calibration = calibrate(calibrated.what(), calibrated.ranks(), options);
    EXPECT_THAT(differences(calibrated.state(), before), testing::IsEmpty()) << what.schedule;
    EXPECT_THAT(differences(calibrated.iterations(1).state(), straight.state()), testing::IsEmpty()) << what.schedule;
    // Every kind of op that the Program has was measured, at all stages.
    std::set<std::pair<Stage, Kind>> occur, measured;
    for (const auto& row : what.rows) {
      for (const Op& op : row) {
        if (is_compute(op.kind) || is_collective(op.kind)) occur.insert({op.stage, op.kind});
      }
    }
    for (const MeasuredOp& op : calibration.ops) {
      EXPECT_GT(op.alone.median, 0);
      measured.insert({op.stage, op.kind});
    }
    EXPECT_EQ(measured, occur);
  }
}

TEST(TorchDevice, a_snapshot_goes_on_in_another_device_bit_by_bit) {
  const TorchConfig config = resnet(2);
  SmallRun straight(config, program("ppll", 2, 2)), first(config, program("ppll", 2, 2)), second(config, program("ppll", 2, 2));
  straight.iterations(3);
  first.iterations(2);
  second.iterations(2).iterations(3);  // elsewhere by then
  std::vector<std::shared_ptr<const void>> snapshots(2);
  first.ranks().each([&](Rank r, Device& device) { snapshots[static_cast<std::size_t>(r)] = device.snapshot(); });
  first.iterations(1);  // a snapshot does not follow
  second.ranks().each([&](Rank r, Device& device) { device.restore(snapshots[static_cast<std::size_t>(r)]); });
  second.rewind(2);
  EXPECT_THAT(differences(second.iterations(1).state(), straight.state()), testing::IsEmpty());
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
  std::vector<std::unique_ptr<torch::optim::Optimizer>> optimizers;
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
