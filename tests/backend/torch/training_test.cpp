// Training: it learns, it can be stopped and resumed without a trace, and it fails cleanly.
#include "backend/torch/training.hpp"

#include <gmock/gmock.h>

#include "backend/torch/checkpoint.hpp"
#include "sim/core/error.hpp"
#include "tests/backend/thread_processes.hpp"
#include "tests/backend/torch/small_runs.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;
using testing::AllOf;
using testing::HasSubstr;

class Training : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("bubblescope-training-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

/// An MLP on small generated images.
TorchConfig small_mlp(std::int32_t stages) {
  TorchConfig config;
  config.model = {.name = "mlp", .image = {3, 8, 8}, .depth = 3, .width = 64};
  config.cuts = partition(build_model(config.model), stages, "layers");
  config.data = std::make_shared<DataSet>(generate_data_set({.samples = 640, .test_samples = 200, .image = {3, 8, 8}}));
  config.batch = config.microbatch = 32;
  config.rate.base = 0.05;
  return config;
}

TEST_F(Training, learns_the_generated_set_far_beyond_chance) {
  for (const char* schedule : {"ppll", "gpipe"}) {
    TorchConfig config = small_mlp(2);
    if (schedule == std::string("gpipe")) config.microbatch = 8;
    SmallRun run(config, program(schedule, 2, 4));
    const TrainingLog log = train(run.what(), run.ranks(), config, {.epochs = 8});
    ASSERT_EQ(log.epochs.size(), 8u) << schedule;
    EXPECT_EQ(log.iterations, iterations_of_epochs(config, run.what(), 8));
    EXPECT_EQ(log.losses.size(), static_cast<std::size_t>(log.iterations));
    EXPECT_LT(log.epochs.back().loss, 0.5 * log.losses.front()) << schedule;
    EXPECT_GT(log.epochs.back().test.accuracy, 0.5) << schedule;  // chance: 0.1
  }
}

TEST_F(Training, logs_the_mean_of_the_last_stages_losses_per_iteration) {
  const TorchConfig config = small_mlp(2);
  const Program what = program("ppll", 2, 4);
  SmallRun run(config, what), same(config, what);
  const TrainingLog log = train(what, run.ranks(), config, {.epochs = 1});
  ASSERT_EQ(log.losses.size(), 5u);
  std::vector<double> means(5);
  for (const auto& [key, loss] : same.iterations(5).losses()) {
    const auto [stage, iteration, microbatch] = key;
    if (stage == 1) means[static_cast<std::size_t>(iteration)] += loss / 4;
  }
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(log.losses[i], means[i], 1e-12);
  EXPECT_NEAR(log.epochs.front().loss, (means[0] + means[1] + means[2] + means[3] + means[4]) / 5, 1e-12);
}

// 640 samples in batches of 32 are 20 batches: with 4 of them per iteration 5 iterations, with one
// batch in 4 microbatches 20; 8 batches per iteration: 2.5, rounded up.
TEST_F(Training, an_epoch_takes_as_many_iterations_as_its_batches_need) {
  TorchConfig config = small_mlp(2);
  EXPECT_EQ(iterations_of_epochs(config, program("ppll", 2, 4), 3), 15);
  EXPECT_EQ(iterations_of_epochs(config, program("ppll", 2, 8), 1), 3);
  EXPECT_EQ(iterations_of_epochs(config, program("ppll", 2, 8), 2), 5);
  config.microbatch = 8;
  EXPECT_EQ(iterations_of_epochs(config, program("gpipe", 2, 4), 1), 20);
}

TEST_F(Training, a_stopped_and_resumed_run_ends_bit_identical_to_an_uninterrupted_one) {
  for (const auto model : {resnet, vit}) {
    TorchConfig config = model(2);
    config.rate = {.schedule = "cosine", .base = config.rate.base, .warmup = 4, .total = 48};
    const Program what = program("ppll", 2, 2);  // 8 iterations per epoch
    TrainOptions options;
    options.epochs = 3;
    options.checkpoint = folder_ / "straight";
    SmallRun straight(config, what);
    const TrainingLog expected = train(what, straight.ranks(), config, options);
    EXPECT_FALSE(expected.stopped);

    options.checkpoint = folder_ / "stopped";
    std::filesystem::remove(options.checkpoint);
    TrainingLog resumed;
    for (const std::int64_t stop_after : {2, 11, 1000}) {  // in the first and in the second epoch
      std::atomic<bool> stop = false;
      options.stop = &stop;
      options.progress = [&](std::int64_t iteration) { stop = stop || iteration + 1 >= stop_after; };
      SmallRun part(config, what);
      const TrainingLog log = train(what, part.ranks(), config, options);
      EXPECT_EQ(log.stopped, stop_after < 1000);
      if (log.stopped) {
        EXPECT_LT(log.iterations, stop_after + 6);
      }
      options.resume = true;
      resumed = log;
    }
    EXPECT_EQ(resumed.losses, expected.losses);
    ASSERT_EQ(resumed.epochs.size(), 3u);
    for (std::size_t epoch = 0; epoch < 3; ++epoch) {
      const Evaluation &test = resumed.epochs[epoch].test, &other = expected.epochs[epoch].test;
      EXPECT_EQ(test.accuracy, other.accuracy);
      ASSERT_EQ(other.auxiliary_accuracy.size(), 2u);  // the last stage has none: NaN
      EXPECT_THAT(test.auxiliary_accuracy, testing::Pointwise(testing::NanSensitiveDoubleEq(), other.auxiliary_accuracy));
    }
    const Checkpoint a = read_checkpoint(folder_ / "straight"), b = read_checkpoint(folder_ / "stopped");
    EXPECT_EQ(a.iteration, 24);
    EXPECT_EQ(b.iteration, 24);
    EXPECT_TRUE(differences(a.tensors, b.tensors).empty());
    EXPECT_EQ(a.run, b.run);
  }
}

TEST_F(Training, another_runs_checkpoint_is_refused) {
  TorchConfig config = small_mlp(2);
  const Program what = program("ppll", 2, 4);
  const TrainOptions options{.epochs = 1, .checkpoint = folder_ / "run"};
  {
    SmallRun run(config, what);
    train(what, run.ranks(), config, options);
  }
  config.seed = 5;
  SmallRun run(config, what);
  TrainOptions resumed = options;
  resumed.resume = true;
  try {
    train(what, run.ranks(), config, resumed);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("run"), HasSubstr("its seed is '0'; expected '5'")));
  }
}

TEST_F(Training, a_run_that_diverges_leaves_the_last_checkpoint_whole) {
  TorchConfig config = small_mlp(2);
  config.rate = {.base = 1e30, .warmup = 0};
  const Program what = program("ppll", 2, 4);
  write_checkpoint({3, {{"kept", "yes"}}, {}}, folder_ / "run");
  SmallRun run(config, what);
  const TrainingLog log = train(what, run.ranks(), config, {.epochs = 2, .checkpoint = folder_ / "run"});
  EXPECT_THAT(log.failure, AllOf(HasSubstr("rank"), HasSubstr("iteration"), HasSubstr("nan")));
  EXPECT_EQ(log.losses.size(), static_cast<std::size_t>(log.iterations));
  for (const double loss : log.losses) EXPECT_TRUE(std::isfinite(loss));
  EXPECT_EQ(read_checkpoint(folder_ / "run").run.at("kept"), "yes");
}

// 2 test batches against 1: who has more cannot read what the other sent, and is alone with that.
TEST_F(Training, over_processes_what_one_meets_alone_ends_all_instead_of_being_waited_for) {
  const Program what = program("ppll", 2, 4);
  const auto thrown = ThreadProcesses(2).run([&](World& world) {
    TorchConfig config = small_mlp(2);
    if (world.process() == 1) config.data = std::make_shared<DataSet>(generate_data_set({.samples = 640, .test_samples = 100, .image = {3, 8, 8}}));
    const auto backend = torch_backend(config);
    Ranks ranks(*backend, what, {}, &world);
    train(what, ranks, config, {.epochs = 2});
  });
  EXPECT_THAT(thrown[0], HasSubstr("shorter than it says"));
  EXPECT_THAT(thrown[1], HasSubstr("process 0 of the test failed"));
}

// A folder in the checkpoint's place is met by the first process alone, and is everybody's failure.
TEST_F(Training, over_processes_a_checkpoint_that_cannot_be_written_is_in_every_log) {
  std::filesystem::create_directories(folder_ / "run");
  const Program what = program("ppll", 2, 4);
  const auto thrown = ThreadProcesses(2).run([&](World& world) {
    const TorchConfig config = small_mlp(2);
    const auto backend = torch_backend(config);
    Ranks ranks(*backend, what, {}, &world);
    const TrainingLog log = train(what, ranks, config, {.epochs = 1, .checkpoint = folder_ / "run"});
    EXPECT_THAT(log.failure, HasSubstr("run"));
    world.barrier();
  });
  EXPECT_THAT(thrown, testing::Each(""));
}

}  // namespace
}  // namespace bubblescope
