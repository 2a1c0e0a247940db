// Where the pass puts R, that every schedule stays valid with it, and what it costs by closed forms.
#include "sim/lower/recompute.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <tuple>

#include "sim/core/cost_list.hpp"
#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "sim/core/weight_versions.hpp"
#include "sim/engine/memory.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/copy_reduction.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "sim/schedules/stream.hpp"
#include "tests/sim/fitting_shape.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Rows = std::vector<std::string>;

Program make(const std::string& name, std::int32_t ranks, std::int32_t microbatches) {
  return generate(find_schedule(name), {.ranks = ranks, .microbatches = microbatches});
}

Rows again(const Rows& rows, const std::string& directives = "", std::string_view stages = "all") { return rows_of(with_recompute(program_of(rows, directives), stages)); }

std::string refusal(const Program& program, std::string_view stages) {
  try {
    with_recompute(program, stages);
  } catch (const InputError& error) {
    return error.what();
  }
  return {};
}

TEST(WithRecompute, stands_right_before_the_backward) {
  EXPECT_EQ(again({"0F0,0F1,0B0,0B1,0U"}), (Rows{"0F0,0F1,0R0,0B0,0R1,0B1,0U"}));
  EXPECT_EQ(again({"0F0,0I0,0F1,0W0,0I1,0W1"}), (Rows{"0F0,0R0,0I0,0F1,0W0,0R1,0I1,0W1"}));
  EXPECT_EQ(again({"0F0@0,0B0@0,0F0@1,0B0@1"}), (Rows{"0F0,0R0,0B0,0F0,0R0,0B0"}));
}

TEST(WithRecompute, of_a_compound_it_stands_before_the_compound) {
  EXPECT_EQ(again({"0F0,1F0,(0F1;1B0)OVERLAP_F_B,0B0,1F1,1B1,0B1"}), (Rows{"0F0,1F0,1R0,(0F1;1B0)OVERLAP_F_B,0R0,0B0,1F1,1R1,1B1,0R1,0B1"}));
}

TEST(WithRecompute, of_a_local_loss_it_stands_before_whatever_reads_the_output_first) {
  EXPECT_EQ(again({"0F0,0A0,0LB0,0F1,0LB1"}, "#profile local\n"), (Rows{"0F0,0R0,0A0,0LB0,0F1,0R1,0LB1"}));
}

TEST(WithRecompute, the_gradient_may_arrive_while_it_runs_and_sends_do_not_wait_for_it) {
  EXPECT_EQ(again({"0F0,0SEND_F0,0RECV_B0,0B0", "1RECV_F0,1F0,1B0,1SEND_B0"}, "", "0"), (Rows{"0F0,0SEND_F0,0R0,0RECV_B0,0B0", "1RECV_F0,1F0,1B0,1SEND_B0"}));
}

TEST(WithRecompute, only_chosen_stages_have_it_in_every_chain) {
  EXPECT_EQ(again({"0F0,0B0", "1F0,1B0", "2F0,2B0"}, "", "0:2"), (Rows{"0F0,0R0,0B0", "1F0,1B0", "2F0,2R0,2B0"}));
  // Two directions: stages 0 and 2 are first in theirs.
  EXPECT_EQ(rows_of(with_recompute(make("chimera", 2, 2), "0")), (Rows{"0F0,3F1,3B1,0R0,0B0,0U,3U", "2F1,1F0,1B0,2R1,2B1,1U,2U"}));
  EXPECT_EQ(with_recompute(make("1f1b", 2, 2), ""), make("1f1b", 2, 2));
}

TEST(WithRecompute, what_recomputes_already_stays_as_it_is) {
  EXPECT_EQ(with_recompute(make("features-replay", 4, 8), "all"), make("features-replay", 4, 8));
  EXPECT_EQ(again({"0F0,0R0,0F1,0B0,0B1"}), (Rows{"0F0,0R0,0F1,0B0,0R1,0B1"}));
}

// Huo et al., arXiv 1807.04511: features replay is DDG that runs its forwards again.
TEST(WithRecompute, makes_features_replay_of_ddg) {
  for (const std::int32_t ranks : {1, 2, 4}) {
    const Program replay = make("features-replay", ranks, 8), ddg = with_recompute(make("ddg", ranks, 8), "all");
    EXPECT_EQ(ddg.rows, replay.rows);
    EXPECT_EQ(ddg.overlap, replay.overlap);
  }
}

// A stream written with its R has the overlap of one that gets them later. FDG's last barriers stand beside backwards of
// the next iteration.
TEST(WithRecompute, counts_in_the_overlap_of_streams) {
  for (const bool barrier : {false, true}) {
    const ScheduleShape shape{.ranks = 4, .microbatches = 8};
    const auto stream = [&](bool replay) { return stream_program("stream", shape, {.lead_per_rank = 2, .replay = replay, .barrier = barrier}); };
    const Program later = with_recompute(stream(false), "all");
    EXPECT_EQ(later.rows, stream(true).rows);
    EXPECT_EQ(later.overlap, stream(true).overlap);
  }
}

TEST(WithRecompute, reads_the_versions_that_the_backward_reads) {
  for (const char* name : {"1f1b", "pipedream", "pipedream-2bw"}) {
    const Program plain = make(name, 4, 8);
    EXPECT_EQ(weight_versions(with_recompute(plain, "all")), weight_versions(plain)) << name;
    for (const auto& stage : weight_versions(with_recompute(plain, "all"))) {
      for (const VersionUse& use : stage) EXPECT_EQ(use.backward, use.forward) << name;
    }
  }
}

TEST(WithRecompute, says_what_is_wrong_with_the_stages) {
  const Program program = make("1f1b", 4, 4);
  EXPECT_EQ(refusal(program, "4"), "recompute names stage 4; expected stages from 0 to 3");
  EXPECT_EQ(refusal(program, "1:0:1"), "recompute names stage 1 twice; expected it once");
  for (const char* text : {"al", "0,1", "-1", "0:", ":0", "0::1", "1.5", "all:0", " 0", "99999999999"}) {
    EXPECT_EQ(refusal(program, text), "recompute is '" + std::string(text) + "'; expected all, or stages such as 0:2");
  }
}

TEST(WithRecompute, refuses_programs_without_use_for_it) {
  EXPECT_THAT(refusal(program_of({"0F0"}, "#profile forward-only\n"), "all"), HasSubstr("has no backward"));
  for (const char* name : {"interlocking", "overlapping-local"}) EXPECT_THAT(refusal(make(name, 4, 4), "all"), HasSubstr("right after its forward")) << name;
  // Another schedule may do.
  EXPECT_THROW(with_recompute(make("interlocking", 4, 4), "all"), ShapeError);
  EXPECT_THROW(with_recompute(make("1f1b", 2, 2), "2"), ShapeError);
}

using Identity = std::tuple<std::int32_t, Stage, Microbatch>;
Identity identity(const Op& op) { return {op.iteration, op.stage, op.microbatch}; }

/// Every backward of the timeline starts after its R, which starts after its F, and there are as many R as F.
void expect_recomputed(const Program& program, const Timeline& timeline) {
  std::map<Identity, Nanos> forward, recompute;
  const auto each = [&](const auto& visit) {
    for (const Span& span : timeline.spans) {
      if (!span.has_op || !is_compute(span.op.kind)) continue;
      for (const Op& part : program.parts_of(span.op)) visit(part, span);
    }
  };
  each([&](const Op& op, const Span& span) {
    if (op.kind == Kind::F) forward[identity(op)] = span.end;
    if (op.kind == Kind::R) recompute[identity(op)] = span.end;
  });
  EXPECT_EQ(forward.size(), recompute.size());
  each([&](const Op& op, const Span& span) {
    if (op.kind == Kind::R) {
      EXPECT_GE(span.start, forward.at(identity(op))) << cell(op);
    } else if (op.kind == Kind::A || is_backward(op.kind)) {
      EXPECT_GE(span.start, recompute.at(identity(op))) << cell(op);
    }
  });
}

TEST(WithRecompute, every_schedule_is_valid_with_it_and_simulates) {
  int recomputed = 0;
  for (const Schedule& schedule : schedules()) {
    for (const std::int32_t ranks : {1, 2, 4}) {
      SCOPED_TRACE(schedule.name + " on " + std::to_string(ranks));
      const Program plain = generate_fitting(schedule, {.ranks = ranks, .microbatches = 2 * ranks});
      if (plain.profile == Profile::interlocking) continue;
      const Program compute = with_recompute(plain, "all");
      const Program lowered = add_send_recv(add_copy_reduction(compute));
      const Program late = with_recompute(add_send_recv(add_copy_reduction(plain)), "all");  // into a program with communication
      for (const Program& program : {compute, lowered, late}) {
        ASSERT_THAT(validate(program), testing::IsEmpty()) << describe(validate(program).front());
      }
      const StageCosts costs = stage_costs(parse_cost_list("F=2,B=3,R=1,A=1,U=1"), plain);
      for (const Program& program : {lowered, late}) {
        for (const Program& run : {program, repeat_iterations(program, 2)}) {
          const Simulation simulation = simulate(run, costs, uniform_cluster(run.ranks(), {kMillisecond, 0}));
          ASSERT_FALSE(simulation.deadlock.has_value());
          expect_recomputed(run, simulation.timeline);
        }
      }
      ++recomputed;
    }
  }
  EXPECT_EQ(recomputed, 3 * (static_cast<int>(schedules().size()) - 2));  // all but the interlocking ones
}

Nanos makespan(const Program& program, const StageCosts& costs) { return simulate(add_send_recv(program), costs, uniform_cluster(program.ranks())).timeline.makespan(); }

// The last rank gets its first input after (p-1) F and then runs F, R, B of one microbatch after the other without a
// gap: its backward is R + B. An R needs no gradient, so it runs while one is on its way: after the last rank's last B
// the other ranks have had time for all their R, and only p-1 times B follow. Of the plain formula (m+p-1)(F+B) the m
// rounds take R + B, fill and drain do not: m (F+R+B) + (p-1)(F+B), for GPipe as for 1F1B (m >= 1, any F, R, B).
RC_GTEST_PROP(WithRecompute, costs_a_forward_per_microbatch_and_nothing_while_filling_and_draining, ()) {
  const std::string name = *rc::gen::elementOf(std::vector<std::string>{"1f1b", "gpipe"});
  const auto ranks = *rc::gen::inRange(1, 7), microbatches = *rc::gen::inRange(1, 12);
  const Nanos forward = *rc::gen::inRange(1, 30), recompute = *rc::gen::inRange(0, 40), backward = *rc::gen::inRange(1, 60);
  const Program program = with_recompute(make(name, ranks, microbatches), "all");
  const StageCosts costs = stage_costs({{Kind::F, {forward}}, {Kind::R, {recompute}}, {Kind::B, {backward}}}, program);
  RC_ASSERT(makespan(program, costs) == microbatches * (forward + recompute + backward) + (ranks - 1) * (forward + backward));
}

TEST(WithRecompute, adds_itself_to_every_step_of_a_local_schedule) {
  // Rank 3 begins after 3 F and then takes F + R + A + LB per batch.
  const Program program = with_recompute(make("ppll", 4, 8), "all");
  EXPECT_EQ(makespan(program, stage_costs(parse_cost_list("F=1,R=1,A=2,LB=3"), program)), (3 * 1 + 8 * 7) * kMillisecond);
}

// GPipe holds all M microbatches when its backwards begin: their inputs, one of which has become the activations of a
// whole stage. The first stage's inputs are the batch, which does not count.
TEST(WithRecompute, gpipe_holds_its_inputs_and_the_activations_of_one_microbatch) {
  const std::int64_t input = 10, activations = 100, microbatches = 6;
  const Program plain = make("gpipe", 3, microbatches);
  StageCosts costs = stage_costs(parse_cost_list("F=1,B=2"), plain);
  for (Stage s = 0; s < 3; ++s) costs.bytes(s) = {.activations = activations, .output = input};
  const auto peaks = [&](const Program& program) {
    std::vector<std::int64_t> bytes;
    for (const RankMemory& rank : memory_over_time(program, simulate(program, costs, uniform_cluster(3)).timeline, costs)) bytes.push_back(rank.peak_bytes);
    return bytes;
  };
  const std::int64_t all = microbatches * activations, inputs = (microbatches - 1) * input + activations;
  EXPECT_THAT(peaks(plain), ElementsAre(all, all, all));
  EXPECT_THAT(peaks(with_recompute(plain, "all")), ElementsAre(activations, inputs, inputs));
  EXPECT_THAT(peaks(with_recompute(plain, "1")), ElementsAre(all, inputs, all));
}

TEST(WithRecompute, searches_take_it_as_part_of_the_backward) {
  const Program placed = make("1f1b", 2, 2);
  const StageCosts costs = with_recompute(stage_costs(parse_cost_list("F=1,I=2,W=3,R=4"), placed), placed, "1");
  const auto of = [&](Stage stage, Kind kind) { return costs.at(stage, kind).duration / kMillisecond; };
  EXPECT_THAT((std::vector{of(0, Kind::I), of(0, Kind::B), of(0, Kind::LB), of(1, Kind::F)}), ElementsAre(2, 5, 5, 1));
  EXPECT_THAT((std::vector{of(1, Kind::I), of(1, Kind::B), of(1, Kind::LB), of(1, Kind::W)}), ElementsAre(6, 9, 9, 3));
}

}  // namespace
}  // namespace bubblescope
