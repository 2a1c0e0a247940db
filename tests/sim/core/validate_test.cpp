// Every class of broken Program is found, and named with rank, position and op.
#include "sim/core/validate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/core/error.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

/// The first finding's text, or `valid`.
std::string check(const Program& program) {
  const auto findings = validate(program);
  return findings.empty() ? "valid" : describe(findings.front());
}
std::string check_rows(const std::vector<std::string>& rows, const std::string& directives = "") {
  return check(program_of(rows, directives));
}

TEST(Validate, good_programs_have_no_findings) {
  EXPECT_EQ(check_rows({"0F0,0F1,0B0,0I1,0W1,0U", "1F0,1B0,1F1,1B1,1U"}), "valid");
  EXPECT_EQ(check_rows({"0F0,0A0,0LB0,0U0"}, "#profile local\n#weights latest\n"), "valid");
  EXPECT_EQ(check_rows({"0F0,0R0,0B0,0U"}), "valid");
  EXPECT_EQ(check_rows({"0F0,1F0"}, "#profile forward-only\n"), "valid");
  EXPECT_EQ(check_rows({"0F0,0F0/s1,0B0/s1,0B0"}), "valid");
}

TEST(Validate, an_overlap_counts_ops_of_the_row_and_ascends) {
  EXPECT_EQ(check_rows({"0F0,0F1,0B0,0B1"}, "#overlap 0 1 2\n"), "valid");
  EXPECT_EQ(check_rows({"0F0,0B0"}, "#overlap 0 0 0 0\n"), "rank 0: 3 ops overlap the next iteration; expected at most the row's 2");
  EXPECT_EQ(check_rows({"0F0,0F1,0B0,0B1"}, "#overlap 0 2 1\n"),
            "rank 0: the overlap is not ascending; expected, for each of the last ops, how many of the next iteration come before it");
}

TEST(Validate, iterations_that_overlap_must_not_lock_each_other) {
  // Alone it runs. Beside the next iteration rank 0 waits for the gradient of a microbatch whose activation it
  // has sent, but rank 1 is first to run the next iteration's forward, which rank 0 has not sent yet.
  const std::vector<std::string> rows{"0F0,0B0", "1F0,1B0"};
  EXPECT_EQ(check_rows(rows), "valid");
  EXPECT_EQ(check_rows(rows, "#overlap 0 0\n#overlap 1 1\n").substr(0, 30), "rank 0, op 1 (0B0): ops wait f");
}

TEST(Validate, a_microbatch_may_miss_no_forward) {
  EXPECT_EQ(check_rows({"0F0,0F1,0B0,0B1", "1F0,1B0,1B1"}), "rank 1, op 2 (1B1): 1B1 without its F");
  EXPECT_EQ(check_rows({"0F0,0F1,0B0,0B1", "1F0,1B0"}), "rank 1 (1F1): stage 1, microbatch 1, iteration 0: no F");
  EXPECT_EQ(check_rows({"0F0,0B0"}, "#microbatches 3\n"), "no forward of microbatch 1; expected microbatches 0 to 2 on every stage");
  EXPECT_EQ(check_rows({"0F0,0B0"}, "#iterations 2\n"), "no forward in iteration 1; expected iterations 0 to 1");
  EXPECT_EQ(check_rows({"0F0,0B0"}, "#microbatches 2000000000\n#iterations 2000000000\n"), "no forward of microbatch 1; expected microbatches 0 to 1999999999 on every stage");
}

TEST(Validate, a_microbatch_has_one_way_back) {
  EXPECT_EQ(check_rows({"0F0"}), "rank 0 (0F0): stage 0, microbatch 0, iteration 0: no backward; expected B, or I and W");
  EXPECT_EQ(check_rows({"0F0,0I0"}), "rank 0 (0F0): stage 0, microbatch 0, iteration 0: no W beside its I");
  EXPECT_EQ(check_rows({"0F0,0W0"}), "rank 0, op 1 (0W0): 0W0 without its I");
  EXPECT_THAT(check_rows({"0F0,0B0,0I0,0W0"}), testing::HasSubstr("B and also I or W"));
  EXPECT_EQ(check_rows({"0F0,0A0"}, "#profile local\n"), "rank 0 (0F0): stage 0, microbatch 0, iteration 0: no LB");
}

TEST(Validate, ops_come_once) {
  EXPECT_EQ(check_rows({"0F0,0F0,0B0"}), "rank 0, op 1 (0F0): 0F0 comes twice; expected once");
  EXPECT_EQ(check_rows({"0F0,0A0,0A0,0LB0"}, "#profile local\n"), "rank 0, op 2 (0A0): 0A0 comes twice; expected once");
  EXPECT_THAT(check_rows({"0F0,(0B0;0B0)OVERLAP_F_B"}), testing::HasSubstr("0B0 comes twice"));
}

TEST(Validate, ops_stand_after_what_they_need) {
  EXPECT_EQ(check_rows({"0B0,0F0"}), "rank 0, op 0 (0B0): 0B0 before its F; expected it after");
  EXPECT_EQ(check_rows({"0F0,0W0,0I0"}), "rank 0, op 1 (0W0): 0W0 before its I; expected it after");
  EXPECT_EQ(check_rows({"0A0,0F0,0LB0"}, "#profile local\n"), "rank 0, op 0 (0A0): 0A0 before its F; expected it after");
  EXPECT_EQ(check_rows({"0F0,0LB0,0A0"}, "#profile local\n"), "rank 0, op 1 (0LB0): 0LB0 before its A; expected it after");
  EXPECT_EQ(check_rows({"0F0,0B0,0R0"}), "rank 0, op 1 (0B0): 0B0 before its R; expected it after");
  EXPECT_EQ(check_rows({"0F0,0A0,0R0,0LB0"}, "#profile local\n"), "rank 0, op 1 (0A0): 0A0 before its R; expected it after");
  EXPECT_EQ(check_rows({"0F0,0LB0,0R0"}, "#profile local\n"), "rank 0, op 1 (0LB0): 0LB0 before its R; expected it after");
  EXPECT_EQ(check_rows({"(0F0;0B0)OVERLAP_F_B"}), "rank 0, op 0 ((0F0;0B0)OVERLAP_F_B): 0B0 in one compound with its F; expected it after");
}

TEST(Validate, a_compound_holds_nothing_that_one_of_its_parts_waits_for) {
  EXPECT_EQ(check_rows({"(0F0;1F0)OVERLAP_F_B,1B0,0B0"}),
            "rank 0, op 0 ((0F0;1F0)OVERLAP_F_B): 1F0 in one compound with the F of stage 0 that it needs; expected it after");
  EXPECT_EQ(check_rows({"0F0,1F0,(1I0;0B0)OVERLAP_F_B,1W0"}),
            "rank 0, op 2 ((1I0;0B0)OVERLAP_F_B): 0B0 in one compound with the I of stage 1 that it needs; expected it after");
  EXPECT_EQ(check_rows({"(0F0;0LB0;1F0)OVERLAP_F_B,1LB0"}, "#profile local-serial\n#weights latest\n").substr(0, 10), "rank 0, op");
  EXPECT_EQ(check_rows({"0F0,1F0,0F1,(1F1;1B0)OVERLAP_F_B,1B1,0B0,0B1"}), "valid");
}

TEST(Validate, an_update_comes_after_the_backwards_it_applies) {
  EXPECT_EQ(check_rows({"0F0,0F1,0B0,0U,0B1"}), "rank 0, op 3 (0U): update before 0B1; expected it after all forwards and backwards of its stage");
  EXPECT_EQ(check_rows({"0F0,0B0,0U,0U"}), "rank 0, op 3 (0U): second update of the stage in this iteration; expected one, as weights flush");
  EXPECT_EQ(check_rows({"0F0,0U0,0LB0"}, "#profile local\n#weights latest\n"), "rank 0, op 1 (0U0): 0U0 before its LB; expected it after");
  EXPECT_EQ(check_rows({"0F0,0I0,0U0,0W0"}, "#weights stash\n"), "rank 0, op 2 (0U0): 0U0 before its W; expected it after");
}

TEST(Validate, a_stage_is_on_its_rank_only) {
  EXPECT_EQ(check_rows({"0F0,0B0", "1F0,0F1,1B0,1F1,1B1,0B1"}), "rank 1, op 1 (0F1): stage 0 is on rank 0; expected its ops there only");
}

TEST(Validate, kinds_belong_to_profiles) {
  EXPECT_EQ(check_rows({"0F0,0LB0"}), "rank 0, op 1 (0LB0): LB in a program of profile backprop, which has none");
  EXPECT_EQ(check_rows({"0F0,0B0"}, "#profile local\n"), "rank 0, op 1 (0B0): B in a program of profile local, which has none");
  EXPECT_EQ(check_rows({"0F0,0U"}, "#profile forward-only\n"), "rank 0, op 1 (0U): U in a program of profile forward-only, which has none");
  EXPECT_EQ(check_rows({"0F0,0R0,0B0"}, "#profile interlocking\n"), "rank 0, op 1 (0R0): R in a program of profile interlocking, which has none");
}

TEST(Validate, numbers_are_in_range) {
  EXPECT_EQ(check_rows({"0F0,0F1,0B0,0B1"}, "#microbatches 1\n"), "rank 0, op 1 (0F1): microbatch 1; expected microbatches from 0 to 0");
  EXPECT_EQ(check_rows({"0F0@1,0B0@1"}, "#iterations 1\n"), "rank 0, op 0 (0F0): iteration 1; expected iterations from 0 to 0");
  EXPECT_EQ(check_rows({"0F,0B0"}), "rank 0, op 0 (0F): no microbatch; expected one");
}

TEST(Validate, sends_and_receives_come_in_pairs) {
  const std::vector<std::string> rows{"0F0,0SEND_F0,0RECV_B0,0B0", "1RECV_F0,1F0,1B0,1SEND_B0"};
  EXPECT_EQ(check_rows(rows), "valid");
  EXPECT_EQ(check_rows({rows[0], "1F0,1B0,1SEND_B0"}), "rank 0, op 1 (0SEND_F0): no 1RECV_F0 on rank 1; expected the other end there");
  EXPECT_EQ(check_rows({"0F0,0RECV_B0,0B0", rows[1]}), "rank 1, op 0 (1RECV_F0): no 0SEND_F0 on rank 0; expected the other end there");
  EXPECT_THAT(check_rows({"0F0,0RECV_B0,0B0", "1F0,1B0,1SEND_B0"}), testing::HasSubstr("no SEND_F, though the next stage is on another rank"));
  EXPECT_THAT(check_rows({"0F0,0SEND_F0,0B0", "1RECV_F0,1F0,1B0"}), testing::HasSubstr("no SEND_B, though the previous stage is on another rank"));
  EXPECT_EQ(check_rows({"0SEND_F0,0F0,0RECV_B0,0B0", rows[1]}), "rank 0, op 0 (0SEND_F0): 0SEND_F0 before its F; expected it after");
  EXPECT_EQ(check_rows({rows[0], "1F0,1RECV_F0,1B0,1SEND_B0"}), "rank 1, op 0 (1F0): 1F0 before its RECV_F; expected it after");
  EXPECT_EQ(check_rows({"0F0,0SEND_F0,1RECV_F0,1F0,1B0,0B0"}), "rank 0, op 1 (0SEND_F0): stage 1 is on the same rank; expected no SEND_F");
  EXPECT_EQ(check_rows({"0F0,0SEND_B0,0B0", "1F0,1B0"}), "rank 0, op 1 (0SEND_B0): 0SEND_B0 before its B; expected it after");
  EXPECT_EQ(check_rows({"0F0,0B0,0SEND_B0", "1F0,1B0"}), "rank 0, op 2 (0SEND_B0): stage 0 has no previous stage; expected no SEND_B");
}

TEST(Validate, late_forwarding_sends_after_the_last_op_of_the_microbatch) {
  EXPECT_EQ(check_rows({"0F0,0LB0,0SEND_F0,0U0", "1RECV_F0,1F0,1LB0,1U0"}, "#profile local-serial\n#weights latest\n"),
            "rank 0, op 2 (0SEND_F0): 0SEND_F0 before its U; expected it after");
}

TEST(Validate, chains_share_the_microbatches) {
  const std::string directives = "#stage-rank 0 0\n#chain 0\n#chain 1\n";
  EXPECT_EQ(check_rows({"0F0,0B0,1F1,1B1"}, directives), "valid");
  EXPECT_EQ(check_rows({"0F0,0B0,1F1,1B1,1F0,1B0"}, directives), "rank 0 (0F0): microbatch 0 is in two chains; expected one");
  EXPECT_EQ(check_rows({"0F0,0B0,1F2,1B2"}, directives), "rank 0 (0F1): stage 0, microbatch 1, iteration 0: no F");
}

TEST(Validate, chains_hold_every_stage_once) {
  EXPECT_EQ(check_rows({"0F0,0B0,1F0,1B0"}, "#chain 0\n"), "stage 1 is in no chain; expected it in one");
  EXPECT_EQ(check_rows({"0F0,0B0"}, "#chain 0 0\n"), "stage 0 is in the chains twice; expected once");
  EXPECT_EQ(check_rows({"0F0,0A0,0B0,0U0", "1F0,1A0,1B0,1U0"}, "#profile interlocking\n#chain 1 0\n"),
            "the chain of a program of profile interlocking is not in the order of its stages' numbers; expected it so");
}

TEST(Validate, channels_are_the_default_and_then_edges_between_neighbours) {
  const auto check_channels = [](const std::vector<Channel>& channels) {
    Program program = program_of({"0F0", "1F0", "2F0"}, "#profile forward-only\n");
    program.channels = channels;
    return check(program);
  };
  EXPECT_EQ(check_channels({{}, {.from = 0, .to = 1}, {.from = 1, .to = 2}}), "valid");
  EXPECT_EQ(check_channels({}), "no channel; expected at least the default one");
  EXPECT_EQ(check_channels({{.from = 0, .to = 1}}), "the first channel is that of 0->1; expected the default of all edges");
  EXPECT_EQ(check_channels({{}, {}}), "channel default twice; expected once");
  EXPECT_EQ(check_channels({{}, {.from = 0, .to = 1}, {.from = 0, .to = 1}}), "channel 0->1 twice; expected once");
  EXPECT_EQ(check_channels({{.capacity = -2}}), "channel default has a capacity of -2 and an eager size of 0; expected none below 0, but -1 for an unbounded capacity");
  EXPECT_THAT(check_channels({{}, {.from = 0, .to = 1, .eager_bytes = -1}}), testing::StartsWith("channel 0->1 has a capacity of -1 and an eager size of -1; expected"));
  EXPECT_EQ(check_channels({{}, {.from = 0, .to = 2}}), "0->2 are no neighbours; expected a stage and the next one of its chain");
  EXPECT_EQ(check_channels({{}, {.from = 1, .to = 0}}), "1->0 are no neighbours; expected a stage and the next one of its chain");
  EXPECT_EQ(check_channels({{}, {.from = 7, .to = 8}}), "7->8 are no neighbours; expected a stage and the next one of its chain");
}

TEST(Validate, compounds_hold_what_their_kind_says) {
  EXPECT_EQ(check_rows({"0F0,0F1,(0B0;0B1)OVERLAP_F_B"}), "valid");
  EXPECT_EQ(check_rows({"0F0,(0SEND_F0;0RECV_B0)OVERLAP_F_B,0B0", "1RECV_F0,1F0,1B0,1SEND_B0"}),
            "rank 0, op 1 ((0SEND_F0;0RECV_B0)OVERLAP_F_B): SEND_F in an OVERLAP_F_B; expected compute ops");
  EXPECT_EQ(check_rows({"(0F0;0B0)BATCH_P2P"}), "rank 0, op 0 ((0F0;0B0)BATCH_P2P): F in a BATCH_P2P; expected sends and receives");
}

TEST(Validate, a_batch_of_transfers_is_a_finding) {
  // No engine takes a batch as one op, so nothing may get as far as one with it.
  const std::vector<std::string> rows{"0F0,(0SEND_F0;0RECV_B0)BATCH_P2P,0B0", "1RECV_F0,1F0,1B0,1SEND_B0"};
  for (const int level : {1, 2, 3}) {
    const auto findings = validate(program_of(rows), level);
    ASSERT_EQ(findings.size(), 1U);
    EXPECT_EQ(describe(findings.front()),
              "rank 0, op 1 ((0SEND_F0;0RECV_B0)BATCH_P2P): a batch of transfers is only read and written; expected its sends and receives one by one");
  }
}

TEST(Validate, all_ranks_meet_at_every_barrier) {
  EXPECT_EQ(check_rows({"0F0,0B0,0SYNC", "1F0,1B0"}), "rank 1: 0 SYNC, but rank 0 has 1; expected as many on every rank");
}

TEST(Validate, copies_of_a_stage_are_reduced_together) {
  const std::string chains = "#chain 0 1\n#chain 3 2\n";
  EXPECT_EQ(check_rows({"0F0,0B0,2F1,2B1,0ALLREDUCE,0U", "1F0,3F1,1B0,3B1,3ALLREDUCE"}, chains), "valid");
  EXPECT_EQ(check_rows({"0F0,0B0,0ALLREDUCE,2F1,2B1,0U", "1F0,3F1,1B0,3B1"}, chains),
            "rank 1: 0 ALLREDUCE of stage 3, but its copy, stage 0, has 1; expected as many of both");
  // Of the stage that is first in the other chain; stage 2 is second there.
  EXPECT_EQ(check_rows({"0F0,0B0,0ALLREDUCE,2F1,2B1,2ALLREDUCE,0U", "1F0,3F1,1B0,3B1"}, chains),
            "rank 1: 0 ALLREDUCE of stage 3, but its copy, stage 0, has 1; expected as many of both");
}

TEST(Validate, a_dependency_cycle_between_ranks_is_level_2_and_lists_the_cycle) {
  // 3F0 needs 2F0, which needs 1F0, which stands behind 3F0.
  const auto findings = validate(program_of({"0F0,2F0,2B0,0B0", "3F0,1F0,3B0,1B0"}));
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings.front().level, 2);
  EXPECT_THAT(findings.front().cycle, testing::IsSupersetOf({"rank 0: 2F0", "rank 1: 3F0"}));
  EXPECT_TRUE(validate(program_of({"0F0,2F0,2B0,0B0", "3F0,1F0,3B0,1B0"}), 1).empty());
}

TEST(Validate, a_swap_of_receives_on_a_channel_is_level_3) {
  const std::vector<std::string> rows{"0F0,0SEND_F0,0F1,0SEND_F1", "1RECV_F1,1RECV_F0,1F0,1F1"};
  const std::string inference = "#profile forward-only\n";
  EXPECT_EQ(check_rows(rows, inference), "valid");  // an unordered channel
  const auto findings = validate(program_of(rows, inference + "#channel default fifo=edge capacity=0\n"));
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings.front().level, 3);
  EXPECT_EQ(findings.front().rank, 1);
  EXPECT_TRUE(validate(program_of(rows, inference + "#channel default fifo=edge capacity=0\n"), 2).empty());
}

TEST(Validate, dropping_or_doubling_any_op_of_a_lowered_pipeline_is_found) {
  const Program good = add_send_recv(generate(find_schedule("1f1b"), {.ranks = 3, .microbatches = 3}));
  ASSERT_EQ(check(good), "valid");
  for (std::size_t r = 0; r < good.rows.size(); ++r) {
    for (std::size_t i = 0; i < good.rows[r].size(); ++i) {
      const auto at = static_cast<std::ptrdiff_t>(i);
      Program less = good;
      less.rows[r].erase(less.rows[r].begin() + at);
      Program more = good;
      more.rows[r].insert(more.rows[r].begin() + at, good.rows[r][i]);
      // Without an update a program is only less than a training step.
      if (good.rows[r][i].kind != Kind::U) {
        EXPECT_NE(check(less), "valid") << r << ' ' << i;
      }
      EXPECT_NE(check(more), "valid") << r << ' ' << i;
    }
  }
}

TEST(Validate, a_thousand_mistakes_are_a_hundred_findings) {
  std::string row;
  for (int m = 0; m < 1000; ++m) row += (m > 0 ? ",0F" : "0F") + std::to_string(m);
  EXPECT_EQ(validate(program_of({row})).size(), 100U);
}

TEST(Validate, require_valid_throws_the_first_finding) {
  EXPECT_NO_THROW(require_valid(program_of({"0F0,0B0"})));
  try {
    require_valid(program_of({"0B0,0F0"}));
    FAIL();
  } catch (const RunError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("rank 0, op 0 (0B0): 0B0 before its F"));
  }
}

TEST(Validate, two_buffers_of_weights_are_one_update_apart) {
  EXPECT_EQ(check_rows({"0F0,0F1,0B0,0B1,0U"}, "#weights double-buffered\n"), "valid");
  EXPECT_EQ(check_rows({"0F0,0B0,0U0,0F1,0B1,0U1"}, "#weights double-buffered\n"), "rank 0: 2 updates of stage 0; expected one per iteration, as weights are double-buffered");
}

TEST(Validate, stages_that_replay_read_what_there_is_in_their_own_order) {
  const std::string local = "#profile local\n#weights latest\n";
  const std::vector<std::string> rows{"0F0,0LB0,0F1,0LB1", "1F0,1LB0,1F1,1LB1"};
  EXPECT_EQ(check_rows(rows, local + "#sources 1 1 1\n"), "valid");
  EXPECT_EQ(check_rows(rows, local + "#sources 1 0 2\n"), "a source of stage 1 is out of range; expected microbatches from 0 to 1");
  EXPECT_EQ(check_rows(rows, local + "#sources 1 0\n"), "1 sources of stage 1; expected one per microbatch, 2");
  EXPECT_EQ(check_rows(rows, local + "#sources 0 0 1\n"), "sources of stage 0, which is first in its chain; expected none");
  EXPECT_EQ(check_rows({rows[0], "1F1,1LB1,1F0,1LB0"}, local + "#sources 1 0 0\n"), "stage 1 replays, and its forwards are not in the order of their microbatches; expected them so");
  EXPECT_EQ(check_rows({"0F0,0B0", "1F0,1B0"}, "#sources 1 0\n"), "stages that replay in a program that is not of profile local; expected none");
}

TEST(Validate, a_stage_that_replays_on_a_rank_that_there_is_not_is_refused) {
  Program program = generate(find_schedule("async-dgl"), {.ranks = 2, .microbatches = 2});
  ASSERT_FALSE(program.sources.empty());
  program.stage_rank[1] = 100'000'000;
  const std::vector<Finding> findings = validate(program);
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(describe(findings.front()), "stage 1 is on rank 100000000; expected ranks from 0 to 1");
}

}  // namespace
}  // namespace bubblescope
