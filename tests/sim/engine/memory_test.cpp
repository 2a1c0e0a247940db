// Memory over time, on a timeline small enough to follow by hand.
#include "sim/engine/memory.hpp"

#include <gtest/gtest.h>

#include "sim/core/cost_list.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

TEST(MemoryOverTime, holds_activations_from_forward_to_backward_and_entries_until_they_are_used) {
  // PPLL, two equal ranks, Q=2, F=1, LB=1. Rank 1: weights 100; the first entry (10) is accepted at 1
  // and used at once: its F starts at 1 (activations 40 until 3), the second entry is accepted at 3 and
  // used at 3. So the peak is 100 + 40, and the entries never add to it.
  const Program program = add_send_recv(generate(find_schedule("ppll"), {2, 2}));
  StageCosts costs = stage_costs(parse_cost_list("F=1,LB=1"), program);
  costs.bytes(0).output = 10;
  costs.bytes(1).weights = 100;
  costs.bytes(1).activations = 40;
  const auto memory = memory_over_time(program, simulate(program, costs, uniform_cluster(2)).timeline, costs);
  EXPECT_EQ(memory[1].peak_bytes, 140);
  EXPECT_EQ(memory[1].at_peak.weights, 100);
  EXPECT_EQ(memory[1].at_peak.activations, 40);
  EXPECT_EQ(memory[1].peak_activations, 1);
  EXPECT_EQ(memory[1].samples.back().bytes, 100);
}

TEST(MemoryOverTime, entries_that_wait_are_memory_of_the_consumer) {
  // Rank 1 takes 1 + 9 per batch, rank 0 only 1 + 1: entries pile up to Q=2 while rank 1 works on the
  // first: 100 + 40 + 2 * 10.
  const Program program = add_send_recv(generate(find_schedule("ppll"), {2, 6}));
  StageCosts costs = stage_costs(parse_cost_list("F=1,LB=1:9"), program);
  costs.bytes(0).output = 10;
  costs.bytes(1).weights = 100;
  costs.bytes(1).activations = 40;
  const auto memory = memory_over_time(program, simulate(program, costs, uniform_cluster(2)).timeline, costs);
  EXPECT_EQ(memory[1].peak_bytes, 160);
  EXPECT_EQ(memory[1].at_peak.queue, 20);
}

TEST(MemoryOverTime, an_input_gradient_frees_its_part_of_the_activations) {
  Program program = make_program("split", 1, 1, {0});
  for (const Kind kind : {Kind::F, Kind::I, Kind::W}) {
    Op op;
    op.kind = kind, op.stage = 0, op.microbatch = 0;
    program.rows[0].push_back(op);
  }
  StageCosts costs = stage_costs(parse_cost_list("F=1,I=1,W=1"), program);
  costs.bytes(0).activations = 100;
  costs.bytes(0).activations_until_w = 30;
  const auto memory = memory_over_time(program, simulate(program, costs, uniform_cluster(1)).timeline, costs);
  ASSERT_EQ(memory[0].samples.size(), 3u);  // F at 0, I ends at 2, W ends at 3
  EXPECT_EQ(memory[0].samples[0].bytes, 100);
  EXPECT_EQ(memory[0].samples[1].bytes, 30);
  EXPECT_EQ(memory[0].samples[2].bytes, 0);
}

TEST(MemoryOverTime, overlapped_ops_count_in_every_iteration) {
  // The last of DualPipe's iterations holds what the first does, by the program of one.
  const Program one = generate(find_schedule("dualpipe"), {4, 8});
  const Program many = repeat_iterations(one, 3);
  const StageCosts costs = stage_costs(parse_cost_list("F=1,I=1,W=1"), one);
  const auto alone = memory_over_time(one, simulate(one, costs, uniform_cluster(4)).timeline, costs);
  const Timeline timeline = simulate(many, costs, uniform_cluster(4)).timeline;
  for (const auto& memory : {memory_over_time(one, timeline, costs), memory_over_time(many, timeline, costs)}) {
    for (std::size_t r = 0; r < 4; ++r) EXPECT_EQ(memory[r].peak_activations, alone[r].peak_activations) << r;
  }
}

TEST(MemoryOverTime, only_microbatches_that_recompute_keep_their_input_alone) {
  const Program program = program_of({"0F0,0B0,0F1,0B1", "1F0,1B0,1F1,1R1,1B1"});
  StageCosts costs = stage_costs(parse_cost_list("F=1,B=1,R=1"), program);
  costs.bytes(0).output = 10;
  costs.bytes(1).activations = 100;
  const auto memory = memory_over_time(program, simulate(program, costs, uniform_cluster(2)).timeline, costs);
  std::vector<std::int64_t> bytes;
  for (const MemorySample& sample : memory[1].samples) bytes.push_back(sample.bytes);
  EXPECT_EQ(bytes, (std::vector<std::int64_t>{0, 100, 0, 10, 100, 0}));
}

}  // namespace
}  // namespace bubblescope
