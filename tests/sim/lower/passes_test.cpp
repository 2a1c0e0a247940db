// Lowering passes, on the cases of PyTorch's own tests (test/distributed/pipelining/test_schedule.py).
#include "sim/lower/passes.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

using Rows = std::vector<std::string>;

TEST(MergeBackward, joins_an_input_gradient_and_the_weight_gradient_right_behind_it) {
  EXPECT_EQ(rows_of(merge_backward(program_of({"0F0,0F1,0F2,0I0,0I1,0W0,0I2,0W2,0W1"}))), (Rows{"0F0,0F1,0F2,0I0,0I1,0W0,0B2,0W1"}));
}

TEST(AddUnshardReshard, unshards_before_the_first_use_and_reshards_after_the_last) {
  EXPECT_EQ(rows_of(add_unshard_reshard(program_of({"0F0,0F1,0B0,0B1"}))), (Rows{"0UNSHARD,0F0,0F1,0B0,0B1,0RESHARD"}));
  EXPECT_EQ(rows_of(add_unshard_reshard(program_of({"0F0,0F1,1F0,1F1,1B0,1B1,0B0,0B1,0U,1U"}))),
            (Rows{"0UNSHARD,1UNSHARD,0F0,0F1,1F0,1F1,1B0,1B1,1RESHARD,0B0,0B1,0RESHARD,0U,1U"}));
}

TEST(AddUnshardReshard, keeps_as_many_stages_as_it_is_told) {
  // Interleaved 1F1B with 4 ranks, 4 chunks and 16 microbatches, last rank: stage 15 is unsharded 4 times
  // where 3 stages may be active, once where 4 may (PyTorch's test of max_active_stages).
  const Program program = generate(find_schedule("interleaved-1f1b"), {.ranks = 4, .microbatches = 16, .options = {{"chunks", "4"}}});
  for (const auto& [active, expected] : {std::pair{3, 4}, std::pair{4, 1}}) {
    const Program lowered = add_unshard_reshard(program, active);
    const auto unshards = std::count_if(lowered.rows[3].begin(), lowered.rows[3].end(), [](const Op& op) { return op.kind == Kind::UNSHARD && op.stage == 15; });
    EXPECT_EQ(unshards, expected) << active;
  }
  EXPECT_THROW(add_unshard_reshard(program, 0), InputError);
  EXPECT_THROW(add_unshard_reshard(add_unshard_reshard(program)), InputError);
}

TEST(AddReduceGrad, reduces_a_stage_after_its_last_backward) {
  EXPECT_EQ(rows_of(add_reduce_grad(program_of({"0F0,0F1,0B0,0B1"}))), (Rows{"0F0,0F1,0B0,0B1,0REDUCE_GRAD"}));
  EXPECT_EQ(rows_of(add_reduce_grad(program_of({"0F0,0F1,1F0,1F1,1B0,1B1,0B0,0B1"}))), (Rows{"0F0,0F1,1F0,1F1,1B0,1B1,1REDUCE_GRAD,0B0,0B1,0REDUCE_GRAD"}));
  EXPECT_EQ(rows_of(add_reduce_grad(program_of({"0F0,0I0,0F1,(0I1;0W0)OVERLAP_F_B,0W1"}))), (Rows{"0F0,0I0,0F1,(0I1;0W0)OVERLAP_F_B,0W1,0REDUCE_GRAD"}));
}

TEST(DeferReceives, puts_a_receive_before_its_use_and_the_lower_rank_receives_before_it_sends) {
  const Program lowered = add_send_recv(program_of({"0F0,0F1,0B0,0B1", "1F0,1B0,1F1,1B1"}));
  EXPECT_EQ(rows_of(lowered), (Rows{"0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1", "1RECV_F0,1F0,1RECV_F1,1B0,1SEND_B0,1F1,1B1,1SEND_B1"}));
  EXPECT_EQ(rows_of(defer_receives(lowered)), (Rows{"0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1", "1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1"}));
}

/// On every ordered pair of ranks, the positions at which the k-th send is not the k-th receive.
int mismatches(const Program& program) {
  const ChainLinks links = chain_links(program);
  int count = 0;
  for (Rank from = 0; from < program.ranks(); ++from) {
    for (Rank to = 0; to < program.ranks(); ++to) {
      const auto transfers = [&](Rank rank, Rank other, bool (*side)(Kind)) {
        std::vector<Op> ops;
        for (const Op& op : program.rows[static_cast<std::size_t>(rank)]) {
          if (!side(op.kind) || program.stage_rank[static_cast<std::size_t>(peer_stage(links, op))] != other) continue;
          Op sent = op;  // as its sender names it
          if (is_recv(op.kind)) {
            sent.stage = static_cast<std::int16_t>(peer_stage(links, op));
            sent.kind = op.kind == Kind::RECV_F ? Kind::SEND_F : Kind::SEND_B;
          }
          ops.push_back(sent);
        }
        return ops;
      };
      const auto sends = transfers(from, to, is_send), receives = transfers(to, from, is_recv);
      EXPECT_EQ(sends.size(), receives.size());
      for (std::size_t k = 0; k < std::min(sends.size(), receives.size()); ++k) count += sends[k] == receives[k] ? 0 : 1;
    }
  }
  return count;
}

TEST(DeferReceives, lets_sends_and_receives_of_two_ranks_part_ways_in_v_shaped_schedules) {
  // Counts of an independent transcription of PyTorch's pass; the plain lowering has none anywhere.
  struct Case {
    std::string schedule;
    int ranks, microbatches, expected;
  };
  for (const Case& c : {Case{"1f1b", 4, 8, 0}, {"zb1p", 4, 8, 0}, {"interleaved-1f1b", 4, 8, 0}, {"interleaved-zb", 4, 8, 0}, {"zbv", 4, 8, 9}, {"dualpipev", 4, 8, 5}, {"interleaved-zb", 2, 4, 4}}) {
    const Program lowered = add_send_recv(generate(find_schedule(c.schedule), {.ranks = c.ranks, .microbatches = c.microbatches}));
    EXPECT_EQ(mismatches(lowered), 0) << c.schedule;
    EXPECT_EQ(mismatches(defer_receives(lowered)), c.expected) << c.schedule << " p=" << c.ranks;
  }
}

}  // namespace
}  // namespace bubblescope
