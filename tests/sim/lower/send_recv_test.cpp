// Where sends and receives are placed, by hand and against PyTorch's own pass.
#include "sim/lower/send_recv.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>

#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

TEST(AddSendRecv, posted_receives_stand_where_their_sender_ran) {
  // Round 1: 0F0 sends, its receive goes to rank 1 at once, so 1F0 runs in the same round.
  // Round 2: 0F1 sends; 1B0 sends back.  Round 3: 0B0; 1F1.  Round 4: 0B1 must wait; 1B1 sends back.
  // Round 5: 0B1.
  const Program lowered = add_send_recv(program_of({"0F0,0F1,0B0,0B1", "1F0,1B0,1F1,1B1"}));
  EXPECT_EQ(rows_of(lowered), (std::vector<std::string>{"0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1",
                                                        "1RECV_F0,1F0,1RECV_F1,1B0,1SEND_B0,1F1,1B1,1SEND_B1"}));
}

TEST(AddSendRecv, neighbours_on_one_rank_need_no_communication) {
  // A V of four stages on two ranks: 0 and 3 on rank 0, 1 and 2 on rank 1.
  const Program lowered = add_send_recv(program_of({"0F0,3F0,3B0,0B0", "1F0,2F0,2B0,1B0"}));
  EXPECT_EQ(rows_of(lowered), (std::vector<std::string>{"0F0,0SEND_F0,3RECV_F0,3F0,3B0,3SEND_B0,0RECV_B0,0B0",
                                                        "1RECV_F0,1F0,2F0,2SEND_F0,2RECV_B0,2B0,1B0,1SEND_B0"}));
}

TEST(AddSendRecv, an_input_gradient_is_sent_and_a_weight_gradient_is_not) {
  const Program lowered = add_send_recv(program_of({"0F0,0I0,0W0", "1F0,1I0,1W0"}));
  EXPECT_EQ(rows_of(lowered), (std::vector<std::string>{"0F0,0SEND_F0,0RECV_B0,0I0,0W0", "1RECV_F0,1F0,1I0,1SEND_B0,1W0"}));
}

TEST(AddSendRecv, a_compound_waits_for_all_its_parts_and_then_sends_for_each) {
  const Program lowered = add_send_recv(program_of({"0F0,0F1,0B0,0B1", "1F0,(1F1;1B0)OVERLAP_F_B,1B1"}));
  // Round 1: 0F0, 1F0.  Round 2: 0F1, the compound (both its inputs are there).  Round 3: 0B0, 1B1.
  EXPECT_EQ(rows_of(lowered), (std::vector<std::string>{"0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1",
                                                        "1RECV_F0,1F0,1RECV_F1,(1F1;1B0)OVERLAP_F_B,1SEND_B0,1B1,1SEND_B1"}));
}

TEST(AddSendRecv, receives_at_use_stand_right_before_their_consumer) {
  const Program lowered = add_send_recv(program_of({"0F0,0F1,0B0,0B1", "1F0,1B0,1F1,1B1"}, "#channel default receive=use\n"));
  EXPECT_EQ(rows_of(lowered), (std::vector<std::string>{"0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1",
                                                        "1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1"}));
}

TEST(AddSendRecv, each_edge_follows_the_receive_rule_of_its_own_channel) {
  const std::string directives = "#channel default\n#channel 0->1 receive=use\n";
  const Program lowered = add_send_recv(program_of({"0F0,0F1,0B0,0B1", "1F0,1F1,1B0,1B1"}, directives));
  EXPECT_EQ(rows_of(lowered).back(), "1RECV_F0,1F0,1RECV_F1,1F1,1B0,1SEND_B0,1B1,1SEND_B1");
  EXPECT_EQ(rows_of(lowered).front(), "0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1");
}

TEST(AddSendRecv, gradients_follow_the_rule_of_the_edge_that_their_activations_came_by) {
  // Posted, the receive of B0 would stand before 0F2: rank 1 sends back in round 2.
  const Program order = program_of({"0F0,0F1,0F2,0B0,0B1,0B2", "1F0,1B0,1F1,1B1,1F2,1B2"}, "#channel 0->1 receive=use\n");
  EXPECT_EQ(rows_of(add_send_recv(order)).front(), "0F0,0SEND_F0,0F1,0SEND_F1,0F2,0SEND_F2,0RECV_B0,0B0,0RECV_B1,0B1,0RECV_B2,0B2");
}

TEST(AddSendRecv, bidirectional_chains_are_independent) {
  // Chain 0: stage 0 on rank 0, 1 on rank 1. Chain 1: stage 2 on rank 1, 3 on rank 0.
  // Round 1: 0F0 and 2F1 send.  Round 2: 3F1, 1F0.  Round 3: 3B1 sends, its receive stands before
  // 1B0, which runs later in the same round and sends.  Round 4: 0B0, 2B1.
  const Program lowered = add_send_recv(
      program_of({"0F0,3F1,3B1,0B0", "2F1,1F0,1B0,2B1"}, "#stage-rank 0 1 1 0\n#chain 0 1\n#chain 2 3\n"));
  EXPECT_EQ(rows_of(lowered), (std::vector<std::string>{"0F0,0SEND_F0,3RECV_F1,3F1,3B1,3SEND_B1,0RECV_B0,0B0",
                                                        "1RECV_F0,2F1,2SEND_F1,1F0,2RECV_B1,1B0,1SEND_B0,2B1"}));
}

TEST(AddSendRecv, every_iteration_has_its_own_data) {
  const Program once = program_of({"0F0,0B0", "1F0,1B0"});
  const Program lowered = add_send_recv(repeat_iterations(once, 2));
  EXPECT_TRUE(validate(lowered).empty());
  EXPECT_EQ(lowered.rows[0].size(), 8U);
  EXPECT_EQ(lowered.rows[0][5].iteration, 1);
  EXPECT_EQ(cell(lowered.rows[0][5]), "0SEND_F0");
}

TEST(AddSendRecv, every_slice_of_a_microbatch_has_its_own_data) {
  // Round 1: 0F0, 1F0.  Round 2: slice 1 of both.  Round 3: 0B0 of slice 1 waits for its gradient, 1B0
  // of slice 1 sends it.  Rounds 4, 5: the other slice follows.
  const Program lowered = add_send_recv(program_of({"0F0,0F0/s1,0B0/s1,0B0", "1F0,1F0/s1,1B0/s1,1B0"}));
  EXPECT_TRUE(validate(lowered).empty());
  const auto slices = [](const std::vector<Op>& row) {
    std::string text;
    for (const Op& op : row) text += std::to_string(op.slice);
    return text;
  };
  EXPECT_EQ(rows_of(lowered).front(), "0F0,0SEND_F0,0F0,0SEND_F0,0RECV_B0,0B0,0RECV_B0,0B0");
  EXPECT_EQ(slices(lowered.rows[0]), "00111100");
  EXPECT_EQ(slices(lowered.rows[1]), "00111100");
}

class TorchLowering : public testing::TestWithParam<const char*> {};

TEST_P(TorchLowering, equals_what_pytorch_places) {
  const std::string file = std::string(GetParam()) + "_p4_m8.csv";
  const Program order = from_torch_csv(text_of(oracles() / "orders" / file), file);
  const Program lowered = add_send_recv(order);
  EXPECT_EQ(to_torch_csv(lowered, TorchFormat::compute_comms), text_of(oracles() / "lowered" / file));
  EXPECT_EQ(rows_of(compute_order(lowered)), rows_of(order));
  EXPECT_TRUE(validate(lowered).empty());
}

INSTANTIATE_TEST_SUITE_P(Orders, TorchLowering,
                         testing::Values("gpipe", "1f1b", "eager1f1b", "interleaved1f1b_v2", "interleaved1f1b_v4",
                                         "interleavedzb_v2", "interleavedzb_v4", "loopedbfs_v2", "loopedbfs_v4", "zb1p_torch",
                                         "zbheur_mem1p", "zbheur_mem1.5p", "zbheur_mem2p", "zbv_torch", "zbv_heur_mem2p",
                                         "v_half", "v_min", "v1f1b", "dualpipev"));

TEST(AddSendRecv, a_compute_order_that_deadlocks_is_refused_with_the_ops_that_wait) {
  // 3F0 needs 2F0, which needs 1F0, which stands behind 3F0.
  try {
    add_send_recv(program_of({"0F0,2F0,2B0,0B0", "3F0,1F0,3B0,1B0"}));
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("rank 0, op 1 (2F0)"));
    EXPECT_THAT(error.what(), testing::HasSubstr("rank 1, op 0 (3F0)"));
  }
}

TEST(AddSendRecv, programs_no_table_can_hold_are_refused) {
  EXPECT_THROW(add_send_recv(program_of({"0F0,0F2000000000"})), InputError);
  EXPECT_THROW(add_send_recv(program_of({"0F0", "0F1,1F0,1F1"})), InputError);
}

TEST(AddSendRecv, a_program_with_communication_is_returned_as_it_is) {
  const Program lowered = add_send_recv(generate(find_schedule("1f1b"), {.ranks = 3, .microbatches = 3}));
  EXPECT_TRUE(has_communication(lowered));
  EXPECT_EQ(add_send_recv(lowered), lowered);
}

/// Random rows that can run: stages anywhere on the ranks, ops in a random order of execution.
Program random_order() {
  const auto ranks = *rc::gen::inRange(1, 5);
  const auto stages = ranks * *rc::gen::inRange(1, 4);
  const auto microbatches = *rc::gen::inRange(1, 6);
  std::vector<Rank> placement;
  for (Stage s = 0; s < stages; ++s) placement.push_back(s < ranks ? s : *rc::gen::inRange(0, ranks));
  Program program = make_program("random", ranks, microbatches, placement);
  std::vector<Op> ready;
  const auto add = [&](Kind kind, Stage stage, Microbatch microbatch) {
    Op op;
    op.kind = kind;
    op.stage = static_cast<std::int16_t>(stage);
    op.microbatch = microbatch;
    ready.push_back(op);
  };
  for (Microbatch m = 0; m < microbatches; ++m) add(Kind::F, 0, m);
  while (!ready.empty()) {
    const auto i = *rc::gen::inRange<std::size_t>(0, ready.size());
    const Op op = ready[i];
    ready.erase(ready.begin() + static_cast<std::ptrdiff_t>(i));
    program.rows[static_cast<std::size_t>(placement[static_cast<std::size_t>(op.stage)])].push_back(op);
    if (op.kind == Kind::F) {
      add(op.stage + 1 < stages ? Kind::F : Kind::B, op.stage + (op.stage + 1 < stages ? 1 : 0), op.microbatch);
    } else if (op.stage > 0) {
      add(Kind::B, op.stage - 1, op.microbatch);
    }
  }
  return program;
}

TEST(AddSendRecv, any_order_that_can_run_is_lowered_to_a_valid_program_of_the_same_compute_order) {
  EXPECT_TRUE(rc::check([] {
    Program order = random_order();
    order.channels.front().receive = *rc::gen::element(Receive::posted, Receive::at_use);
    const Program lowered = add_send_recv(order);
    RC_ASSERT(compute_order(lowered) == order);
    for (const Finding& finding : validate(lowered)) RC_FAIL(describe(finding));
  }));
}

TEST(AddSendRecv, posted_receives_of_a_pair_of_ranks_come_in_the_order_of_its_sends) {
  EXPECT_TRUE(rc::check([] {
    const Program lowered = add_send_recv(random_order());
    std::map<std::pair<Rank, Rank>, std::vector<std::string>> sent, received;
    for (Rank r = 0; r < lowered.ranks(); ++r) {
      for (Op op : lowered.rows[static_cast<std::size_t>(r)]) {
        if (!is_send(op.kind) && !is_recv(op.kind)) continue;
        const bool send = is_send(op.kind);
        const bool down = op.kind == Kind::SEND_F || op.kind == Kind::RECV_B;
        const auto peer_stage = op.stage + (down ? 1 : -1);
        const Rank peer = lowered.stage_rank[static_cast<std::size_t>(peer_stage)];
        if (send) {
          op.kind = op.kind == Kind::SEND_F ? Kind::RECV_F : Kind::RECV_B;
          op.stage = static_cast<std::int16_t>(peer_stage);
          sent[{r, peer}].push_back(cell(op));
        } else {
          received[{peer, r}].push_back(cell(op));
        }
      }
    }
    RC_ASSERT(sent == received);
  }));
}

}  // namespace
}  // namespace bubblescope
