// Streams: orders by hand, periods by their closed forms, memory by the papers.
#include "sim/schedules/stream.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "sim/core/cost_list.hpp"
#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "sim/engine/memory.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

const std::vector<std::string> kStreams{"pipedream", "pipedream-2bw", "ddg", "features-replay", "pipelined-backprop", "fdg"};

Program stream(const std::string& name, std::int32_t ranks, std::int32_t microbatches) {
  return generate(find_schedule(name), {.ranks = ranks, .microbatches = microbatches});
}

TEST(Streams, have_the_orders_of_the_papers) {
  const auto cells = [](const std::string& name, std::int32_t microbatches) { return rows_of(stream(name, 2, microbatches)); };
  using Rows = std::vector<std::string>;
  EXPECT_EQ(cells("pipedream", 3), (Rows{"0F0,0F1,0B0,0U0,0F2,0B1,0U1,0B2,0U2", "1F0,1B0,1U0,1F1,1B1,1U1,1F2,1B2,1U2"}));
  EXPECT_EQ(cells("pipedream-2bw", 2), (Rows{"0F0,0F1,0B0,0B1,0U", "1F0,1B0,1F1,1B1,1U"}));
  EXPECT_EQ(cells("features-replay", 2), (Rows{"0F0,0F1,0R0,0B0,0U0,0R1,0B1,0U1", "1F0,1R0,1B0,1U0,1F1,1R1,1B1,1U1"}));
  // Rank 0 of pipelined backpropagation goes back to what was forwarded two steps before.
  EXPECT_EQ(cells("pipelined-backprop", 3)[0], "0F0,0F1,0F2,0B0,0U0,0B1,0U1,0B2,0U2");
  // FDG: in step i stage k runs F(i - k) and B(i - 2K + 2 + k).
  EXPECT_EQ(cells("fdg", 2), (Rows{"0F0,0SYNC0,0F1,0SYNC1,0B0,0U0,0SYNC2,0B1,0U1,0SYNC3", "1SYNC0,1F0,1B0,1U0,1SYNC1,1F1,1B1,1U1,1SYNC2,1SYNC3"}));
}

TEST(Streams, an_iteration_fills_its_pipeline) {
  for (const auto& [name, least] : {std::pair{"pipedream", 3}, {"pipedream-2bw", 3}, {"ddg", 3}, {"features-replay", 3}, {"pipelined-backprop", 6}, {"fdg", 6}}) {
    EXPECT_THROW(stream(name, 4, least - 1), ShapeError) << name;
    EXPECT_NO_THROW(stream(name, 4, least)) << name;
  }
}

RC_GTEST_PROP(Streams, have_no_bubble_once_they_are_filled, ()) {
  const std::string name = *rc::gen::elementOf(kStreams);
  const auto ranks = *rc::gen::inRange(1, 7);
  const auto microbatches = *rc::gen::inRange(std::max(1, 2 * ranks - 2), 2 * ranks + 6);
  const Nanos forward = *rc::gen::inRange(1, 30), backward = *rc::gen::inRange(1, 60), recompute = *rc::gen::inRange(0, 30), update = *rc::gen::inRange(0, 9);
  const Program one = add_send_recv(stream(name, ranks, microbatches));
  RC_ASSERT(validate(one).empty());
  const StageCosts costs = stage_costs({{Kind::F, {forward}}, {Kind::B, {backward}}, {Kind::R, {recompute}}, {Kind::U, {update}}}, one);
  const bool replays = name == "features-replay";
  const Nanos step = forward + backward + (replays ? recompute : 0);
  const auto period = steady_period(one, costs, uniform_cluster(ranks));
  RC_ASSERT(period.has_value());
  RC_ASSERT(*period == (name == "pipedream-2bw" ? microbatches * step + update : step + update));
}

TEST(Streams, unequal_stages_run_at_the_pace_of_the_slowest) {
  // Stage 1 takes 2 + 5, its neighbours 3 at most.
  const Program one = add_send_recv(stream("pipedream", 3, 8));
  EXPECT_EQ(steady_period(one, stage_costs(parse_cost_list("F=1:2:1,B=2:5:2"), one), uniform_cluster(3)), 7 * kMillisecond);
  // With a barrier after every step the same; without FDG's barrier nothing else.
  const Program fdg = add_send_recv(stream("fdg", 3, 8));
  EXPECT_EQ(steady_period(fdg, stage_costs(parse_cost_list("F=1:2:1,B=2:5:2"), fdg), uniform_cluster(3)), 7 * kMillisecond);
}

TEST(Streams, hold_the_microbatches_and_the_weights_of_the_papers) {
  const auto of = [](const std::string& name) {
    const Program one = add_send_recv(stream(name, 4, 8));
    StageCosts costs = stage_costs(parse_cost_list("F=1,B=2,R=1"), one);
    for (Stage s = 0; s < 4; ++s) costs.bytes(s) = {.weights = 1000, .activations = 10, .output = 1};
    const Program many = repeat_iterations(one, 3);
    return memory_over_time(many, simulate(many, costs, uniform_cluster(4)).timeline, costs);
  };
  const auto activations = [](const std::vector<RankMemory>& ranks) {
    std::vector<std::int32_t> peaks;
    for (const RankMemory& rank : ranks) peaks.push_back(rank.peak_activations);
    return peaks;
  };
  const auto versions = [](const std::vector<RankMemory>& ranks) {
    std::vector<std::int64_t> bytes;
    for (const RankMemory& rank : ranks) bytes.push_back(rank.at_peak.versions);
    return bytes;
  };
  using testing::ElementsAre;
  // PipeDream keeps p-r microbatches and p-r versions of the weights, the newest among them.
  const auto pipedream = of("pipedream");
  EXPECT_THAT(activations(pipedream), ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(versions(pipedream), ElementsAre(3000, 2000, 1000, 0));
  EXPECT_THAT(versions(of("pipedream-2bw")), testing::Each(1000));
  const auto ddg = of("ddg");
  EXPECT_THAT(activations(ddg), ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(versions(ddg), testing::Each(0));
  // Features replay keeps inputs (none are counted at the first stage) and one microbatch.
  const auto replay = of("features-replay");
  EXPECT_EQ(replay[0].at_peak.activations, 10);
  EXPECT_EQ(replay[1].at_peak.activations, 2 * 1 + 10);
  EXPECT_THAT(activations(of("fdg")), ElementsAre(7, 5, 3, 1));
}

}  // namespace
}  // namespace bubblescope
