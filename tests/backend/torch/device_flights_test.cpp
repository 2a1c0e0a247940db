// Recorded ops: the same numbers, recorded once per kind and microbatch in flight.
#include <gmock/gmock.h>

#include <atomic>

#include "sim/core/error.hpp"
#include "tests/backend/torch/small_runs.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;
using testing::HasSubstr;

/// Repeats the host's work, too, with what it was given when it was recorded: whatever does not come through the
/// tensors of the recording is old then, and shows.
class RepeatingRecorder : public Recorder {
 public:
  struct Counts {
    std::atomic<int> recorded{0}, launched{0};
  };
  explicit RepeatingRecorder(Counts& counts) : counts_(counts) {}

  std::unique_ptr<Recording> record(std::function<void()> work) override {
    struct Repeated : Recording {
      Repeated(std::function<void()> what, Counts& counter) : work(std::move(what)), counts(counter) {}
      void launch() override {
        ++counts.launched;
        work();
      }
      std::function<void()> work;
      Counts& counts;
    };
    ++counts_.recorded;
    return std::make_unique<Repeated>(std::move(work), counts_);
  }

 private:
  Counts& counts_;
};

class RecordedBackend : public Backend {
 public:
  RecordedBackend(const TorchConfig& config, RepeatingRecorder::Counts& counts) : shared_(torch_shared(config)), counts_(counts) {}
  std::string name() const override { return "recorded"; }
  std::unique_ptr<Device> device(Rank rank, const Program& program) override {
    return std::make_unique<TorchDevice>(shared_, rank, program, torch::kCPU, [this] { return std::make_unique<RepeatingRecorder>(counts_); });
  }

 private:
  std::shared_ptr<const TorchShared> shared_;
  RepeatingRecorder::Counts& counts_;
};

SmallRun recorded(const TorchConfig& config, Program what, RepeatingRecorder::Counts& counts) {
  return {std::make_unique<RecordedBackend>(config, counts), std::move(what)};
}

TorchConfig config_for(const Program& what) {
  TorchConfig config = resnet(static_cast<std::int32_t>(what.chains.front().size()));
  config.clip_norm = is_local(what.profile) ? 0.5 : 0;
  config.batch = find_schedule(what.schedule).whole_batches ? 4 : 16;
  return config;
}

// Sums that start from a zero instead of nothing may have another sign of zero.
TEST(RecordedOps, compute_what_ops_compute) {
  for (const char* name : {"ppll", "sequential-local", "naive", "gpipe", "1f1b", "interleaved-1f1b", "zb-h1", "zbv", "dualpipe"}) {
    const Program what = program(name, 2, 4);
    const TorchConfig config = config_for(what);
    RepeatingRecorder::Counts counts;
    SmallRun plain(config, what), graphs = recorded(config, what, counts);
    EXPECT_EQ(relative_error(graphs.iterations(4).state(), plain.iterations(4).state()), 0) << name;
    EXPECT_EQ(graphs.losses(), plain.losses()) << name;
    EXPECT_GT(counts.launched, counts.recorded) << name;
  }
}

// In 1F1B on two ranks the first holds two microbatches at a time, the last one; F and B of each are recorded (4 + 2).
// The first rank's first two and the last rank's first microbatch run before one is through, so that of 4 microbatches
// 2 and 3 are launched in the first iteration, and all of them in the next four.
TEST(RecordedOps, are_recorded_once_per_kind_and_microbatch_in_flight) {
  const Program what = program("1f1b", 2, 4);
  RepeatingRecorder::Counts counts;
  SmallRun run = recorded(config_for(what), what, counts);
  run.iterations(1);
  EXPECT_EQ(counts.recorded, 6);
  EXPECT_EQ(counts.launched, 2 * (2 + 3));
  run.iterations(4);
  EXPECT_EQ(counts.recorded, 6);
  EXPECT_EQ(counts.launched, 2 * (2 + 3) + 4 * 2 * (4 + 4));
}

TEST(RecordedOps, go_on_after_a_snapshot_was_restored) {
  const Program what = program("1f1b", 2, 4);
  RepeatingRecorder::Counts counts;
  SmallRun run = recorded(config_for(what), what, counts);
  run.iterations(2);
  std::vector<std::shared_ptr<const void>> kept(2);
  run.ranks().each([&](Rank rank, Device& device) { kept[static_cast<std::size_t>(rank)] = device.snapshot(); });
  const auto expected = [&] {
    std::map<std::string, torch::Tensor> state = run.iterations(2).state();
    for (auto& [name, tensor] : state) tensor = tensor.clone();
    return state;
  }();
  run.ranks().each([&](Rank rank, Device& device) { device.restore(kept[static_cast<std::size_t>(rank)]); });
  EXPECT_EQ(relative_error(run.rewind(2).iterations(2).state(), expected), 0);
  EXPECT_EQ(counts.recorded, 6);
}

TEST(RecordedOps, refuse_what_cannot_be_repeated_in_place) {
  RepeatingRecorder::Counts counts;
  const auto refusal = [&](const TorchConfig& config, const Program& what) -> std::string {
    try {
      recorded(config, what, counts);
    } catch (const InputError& error) {
      return error.what();
    }
    return "none";
  };
  const Program stashing = program("pipedream", 2, 4);
  EXPECT_THAT(refusal(config_for(stashing), stashing), HasSubstr("older weights"));
  EXPECT_THAT(refusal(vit(2), program("1f1b", 2, 1)), HasSubstr("dropout"));
  TorchConfig without = vit(2);
  without.model.dropout = 0;
  EXPECT_EQ(refusal(without, program("1f1b", 2, 1)), "none");
}

}  // namespace
}  // namespace bubblescope
