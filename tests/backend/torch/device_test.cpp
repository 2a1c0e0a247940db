// The numerics of pipelines, split backward included, against the un-pipelined model; and what a device refuses.
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
              AllOf(HasSubstr("0LOAD0"), HasSubstr("LibTorch devices have no LOAD")));
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

TEST(TorchDevice, every_schedule_computes_the_same_bits_on_streams) {
  for (const Schedule& schedule : schedules()) {
    const Program what = add_send_recv(add_copy_reduction(generate_fitting(schedule, {.ranks = 2, .microbatches = 4})));
    TorchConfig config = resnet(static_cast<std::int32_t>(what.chains.front().size()));
    config.microbatch = 2;
    config.batch = schedule.whole_batches || schedule.local ? 2 : 2 * what.microbatches;
    SmallRun direct(config, what), streams(config, what, late_at_random(5));
    EXPECT_THAT(differences(streams.iterations(2).state(), direct.iterations(2).state()), IsEmpty()) << schedule.name;
    EXPECT_EQ(streams.losses(), direct.losses()) << schedule.name;
  }
}

}  // namespace
}  // namespace bubblescope
