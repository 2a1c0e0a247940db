// Activation checkpointing for real: stages that run their forwards again train to the same bits.
#include <gmock/gmock.h>

#include "backend/torch/device.hpp"
#include "sim/core/error.hpp"
#include "sim/lower/recompute.hpp"
#include "tests/backend/stream_runs.hpp"
#include "tests/backend/torch/reference.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

using namespace testing_runs;
using testing::HasSubstr;
using testing::IsEmpty;

struct RecomputeCase {
  std::string schedule;
  std::string model;
};
void PrintTo(const RecomputeCase& c, std::ostream* out) { *out << c.schedule << ", " << c.model; }

class Recompute : public testing::TestWithParam<RecomputeCase> {
 protected:
  static constexpr std::int32_t kRanks = 2, kMicrobatches = 4;

  static Program plain() { return program(GetParam().schedule, kRanks, kMicrobatches); }
  static TorchConfig config() {
    const auto stages = static_cast<std::int32_t>(plain().chains.front().size());
    TorchConfig config = GetParam().model == "vit" ? vit(stages) : resnet(stages);  // dropout; batch norm
    if (!find_schedule(GetParam().schedule).whole_batches) config.batch = kMicrobatches * config.microbatch;
    return config;
  }
};

// The same input, the same masks (their key is the microbatch's) and the same weights make the same activations, and
// with them the same gradients in the same order. State includes running statistics, which would differ had an R moved
// them again, and what the optimizer keeps.
TEST_P(Recompute, changes_no_bit_of_losses_weights_and_running_statistics) {
  SmallRun once(config(), plain());
  const auto expected = once.iterations(3).state();
  const auto losses = once.losses();
  ASSERT_FALSE(losses.empty());
  for (const char* stages : {"all", "0", "1"}) {
    SmallRun twice(config(), with_recompute(plain(), stages));
    EXPECT_THAT(differences(twice.iterations(3).state(), expected), IsEmpty()) << stages;
    EXPECT_EQ(twice.losses(), losses) << stages;
  }
}

TEST_P(Recompute, on_streams_changes_no_bit_either) {
  SmallRun once(config(), plain());
  const auto expected = once.iterations(2).state();
  SmallRun twice(config(), with_recompute(plain(), "all"), late_at_random(1));
  EXPECT_THAT(differences(twice.iterations(2).state(), expected), IsEmpty());
  EXPECT_EQ(twice.losses(), once.losses());
}

std::vector<RecomputeCase> cases() {
  std::vector<RecomputeCase> all;
  // Whole and split backwards, two directions, stages folded into a V, stashed weights, local losses.
  for (const char* schedule : {"1f1b", "zb-h1", "dualpipe", "zbv", "pipedream", "pipedream-2bw", "ppll"}) {
    for (const char* model : {"resnet", "vit"}) all.push_back({schedule, model});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Schedules, Recompute, testing::ValuesIn(cases()), [](const auto& given) {
  std::string name = given.param.schedule + "_" + given.param.model;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

// Huo et al., arXiv 1807.04511: what DDG is with forwards that run again at the newest weights.
TEST(Recomputing, ddg_trains_as_features_replay_does) {
  const TorchConfig config = vit(2);
  SmallRun replay(config, program("features-replay", 2, 4)), ddg(config, with_recompute(program("ddg", 2, 4), "all"));
  EXPECT_THAT(differences(ddg.iterations(2).state(), replay.iterations(2).state()), IsEmpty());
  EXPECT_EQ(ddg.losses(), replay.losses());
}

TEST(Recomputing, a_local_loss_without_the_forward_it_reads_is_refused) {
  const auto device = device_of(resnet(2), program_of({"0F0,0R0,0A0,0LB0", "1F0,1A0,1LB0"}, "#profile local\n"), 0);
  device->execute(op_of(Kind::F, 0));
  for (const Kind kind : {Kind::A, Kind::LB}) {
    EXPECT_THAT(message_of<RunError>([&] { device->execute(op_of(kind, 0)); }), HasSubstr("its R has not run"));
  }
  device->execute(op_of(Kind::R, 0));
  EXPECT_NO_THROW(device->execute(op_of(Kind::A, 0)));
}

}  // namespace
}  // namespace bubblescope
