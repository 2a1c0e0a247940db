// Replay buffers: what stages read, by hand, and that nobody waits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "sim/core/cost_list.hpp"
#include "sim/core/psched.hpp"
#include "sim/core/validate.hpp"
#include "sim/engine/memory.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

using testing::ElementsAre;

struct Asked {
  std::int32_t ranks, steps;
  std::string cost;
  std::string buffer = "1", reuse = "0";
};

Program async_dgl(const Asked& asked) {
  ScheduleShape shape{asked.ranks, asked.steps, {{"buffer", asked.buffer}, {"reuse", asked.reuse}}};
  shape.costs = [&](const Program& placed) { return stage_costs(parse_cost_list(asked.cost), placed); };
  shape.cluster = uniform_cluster(asked.ranks);
  return add_send_recv(generate(find_schedule("async-dgl"), shape));
}

std::vector<Microbatch> sources(const Asked& asked) { return async_dgl(asked).sources.back(); }

TEST(AsyncDgl, equal_stages_read_every_output_once) {
  EXPECT_THAT(sources({2, 5, "F=1,LB=2"}), ElementsAre(0, 1, 2, 3, 4));
}

TEST(AsyncDgl, a_fast_stage_trains_on_outputs_again) {
  // Stage 0 makes an output at 1, 4, 7, ...; stage 1 takes 1.5 per step from 1 on: 1, 2.5, 4, 5.5, 7.
  EXPECT_THAT(sources({2, 5, "F=1:0.5,LB=2:1"}), ElementsAre(0, 0, 1, 1, 2));
  // No output twice: it waits.
  EXPECT_THAT(sources({2, 5, "F=1:0.5,LB=2:1", "1", "1"}), ElementsAre(0, 1, 2, 3, 4));
}

TEST(AsyncDgl, a_slow_stage_misses_what_was_overwritten) {
  // Outputs at 1, 4, 7, 10, 13, 16; steps begin at 1, 7, 13, 19.
  EXPECT_THAT(sources({2, 4, "F=1:2,LB=2:4"}), ElementsAre(0, 2, 3, 3));
  // Three places: the newest first, then what was not used yet.
  EXPECT_THAT(sources({2, 4, "F=1:2,LB=2:4", "3"}), ElementsAre(0, 2, 3, 1));
  // Where nothing comes any more what there is is used again, whatever the limit.
  EXPECT_THAT(sources({2, 4, "F=1:2,LB=2:4", "1", "1"}), ElementsAre(0, 2, 3, 3));
}

TEST(AsyncDgl, outputs_that_nobody_reads_are_not_sent) {
  const Program program = async_dgl({2, 4, "F=1:2,LB=2:4"});
  std::vector<Microbatch> sent;
  for (const Op& op : program.rows[0]) {
    if (op.kind == Kind::SEND_F) sent.push_back(op.microbatch);
  }
  EXPECT_THAT(sent, ElementsAre(0, 2, 3));
  EXPECT_TRUE(validate(program).empty());
  EXPECT_EQ(from_psched(to_psched(program), "replay.psched").sources, program.sources);
}

TEST(AsyncDgl, an_entry_is_memory_until_its_last_reader_starts) {
  const Asked asked{2, 5, "F=1:0.5,LB=2:1"};
  const Program program = async_dgl(asked);
  StageCosts costs = stage_costs(parse_cost_list(asked.cost), program);
  costs.bytes(0).output = 10;
  const auto memory = memory_over_time(program, simulate(program, costs, uniform_cluster(2)).timeline, costs);
  EXPECT_EQ(memory[1].at_peak.queue, 10);
  EXPECT_EQ(memory[1].samples.back().bytes, 0);
}

RC_GTEST_PROP(AsyncDgl, stages_never_wait_once_they_have_an_input, ()) {
  Asked asked{*rc::gen::inRange(1, 6), *rc::gen::inRange(1, 20), "F=1", std::to_string(*rc::gen::inRange(1, 5))};
  asked.cost = "F=";
  std::string lb = ",LB=";
  for (std::int32_t r = 0; r < asked.ranks; ++r) {
    asked.cost += (r > 0 ? ":" : "") + std::to_string(*rc::gen::inRange(1, 9)) + "us";
    lb += (r > 0 ? ":" : "") + std::to_string(*rc::gen::inRange(1, 9)) + "us";
  }
  asked.cost += lb;
  const Program program = async_dgl(asked);
  RC_ASSERT(validate(program).empty());
  const Simulation run = simulate(program, stage_costs(parse_cost_list(asked.cost), program), uniform_cluster(asked.ranks));
  std::vector<Nanos> end(static_cast<std::size_t>(asked.ranks), -1);
  for (const Span& span : run.timeline.spans) {
    if (!is_compute(span.op.kind)) continue;
    Nanos& before = end[static_cast<std::size_t>(span.op.stage)];
    RC_ASSERT(before < 0 || span.start == before);
    before = span.end;
  }
}

}  // namespace
}  // namespace bubblescope
