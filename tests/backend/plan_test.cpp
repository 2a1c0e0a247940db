// Plans: which steps a rank takes, in which order, and what each uses.
#include "backend/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "sim/core/error.hpp"
#include "sim/lower/copy_reduction.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A program of two stages on two ranks from rows of cells.
Program from_cells(const std::vector<std::vector<std::string>>& rows, const Channel& channel, Profile profile) {
  Program program = make_program("cells", 2, 4, placement_loop(2, 1));
  program.channels.front() = channel;
  program.profile = profile;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (const std::string& text : rows[r]) program.rows[r].push_back(*parse_cell(text));
  }
  return program;
}

std::vector<std::string> steps_of(const Plan& plan, std::size_t rank) {
  std::vector<std::string> steps;
  for (const Step& step : plan.ranks[rank]) steps.push_back(cell(step.op));
  return steps;
}

TEST(Plan, an_immediate_send_follows_the_op_that_makes_its_data_and_keeps_its_place_in_its_fifo) {
  const Program program = from_cells({{"0F0", "0F1", "0SEND_F1", "0SEND_F0"}, {"1RECV_F1", "1RECV_F0", "1F0", "1F1"}},
                                     channel_mode("rank"), Profile::forward_only);
  const Plan plan = make_plan(program, {});
  EXPECT_THAT(steps_of(plan, 0), ElementsAre("0F0", "0SEND_F0", "0F1", "0SEND_F1"));
  EXPECT_THAT(steps_of(plan, 1), ElementsAre("1F0", "1F1"));  // posted receives are no steps
  ASSERT_EQ(plan.fifos.size(), 2u);
  // Message 0 is the row's first send, 0SEND_F1.
  EXPECT_EQ(cell(plan.messages[0].send), "0SEND_F1");
  EXPECT_EQ(plan.fifos[0].entries[0].message, 0);
  EXPECT_EQ(plan.fifos[0].entries[1].message, 1);
  EXPECT_TRUE(plan.fifos[0].entries[0].send);
  EXPECT_FALSE(plan.fifos[1].entries[0].send);
}

TEST(Plan, a_holding_send_stays_where_it_stands) {
  Channel channel;
  channel.send = Send::holding;
  channel.receive = Receive::at_use;
  const Program program = from_cells({{"0F0", "0F1", "0SEND_F0", "0SEND_F1"}, {"1RECV_F0", "1F0", "1RECV_F1", "1F1"}}, channel, Profile::forward_only);
  const Plan plan = make_plan(program, {});
  EXPECT_THAT(steps_of(plan, 0), ElementsAre("0F0", "0F1", "0SEND_F0", "0SEND_F1"));
  EXPECT_THAT(steps_of(plan, 1), ElementsAre("1RECV_F0", "1F0", "1RECV_F1", "1F1"));
  EXPECT_TRUE(plan.fifos.empty());
}

TEST(Plan, ops_take_what_their_rank_received_for_them) {
  ScheduleShape shape;
  shape.ranks = 3;
  shape.microbatches = 2;
  const Plan plan = make_plan(add_send_recv(generate(find_schedule("1f1b"), shape)), uniform_cluster(3, {7, 0}));
  int taken = 0;
  for (const auto& steps : plan.ranks) {
    for (const Step& step : steps) {
      for (const std::int32_t message : step.takes) {
        const Op& recv = plan.messages[static_cast<std::size_t>(message)].recv;
        EXPECT_EQ(recv.stage, step.op.stage);
        EXPECT_EQ(recv.microbatch, step.op.microbatch);
        EXPECT_EQ(recv.kind, step.op.kind == Kind::F ? Kind::RECV_F : Kind::RECV_B);
        ++taken;
      }
    }
  }
  EXPECT_EQ(taken, 2 * 2 * 2);  // boundaries, directions, microbatches
  EXPECT_EQ(plan.edges.size(), 4u);
  EXPECT_EQ(plan.edges.front().link.latency, 7);
}

TEST(Plan, barriers_group_the_ranks_that_have_them) {
  Channel channel;
  const Program program = from_cells({{"0SYNC0", "0F0", "0SYNC1"}, {"1SYNC0"}}, channel, Profile::local);
  const Plan plan = make_plan(program, {});
  ASSERT_EQ(plan.groups.size(), 2u);
  EXPECT_THAT(plan.groups[0].members, ElementsAre(0, 1));
  EXPECT_THAT(plan.groups[1].members, ElementsAre(0));
}

TEST(Plan, reductions_group_the_ranks_that_hold_copies_of_a_stage) {
  const Program program = add_send_recv(add_copy_reduction(generate(find_schedule("chimera"), {.ranks = 4, .microbatches = 4})));
  const Plan plan = make_plan(program, {});
  ASSERT_EQ(plan.groups.size(), 4u);
  std::map<Stage, std::vector<Rank>> members;
  for (const auto& steps : plan.ranks) {
    for (const Step& step : steps) {
      if (step.action == Action::meet) members[step.op.stage] = plan.groups[static_cast<std::size_t>(step.group)].members;
    }
  }
  for (const Stage stage : {0, 3, 4, 7}) EXPECT_THAT(members[stage], ElementsAre(0, 3)) << stage;
  for (const Stage stage : {1, 2, 5, 6}) EXPECT_THAT(members[stage], ElementsAre(1, 2)) << stage;
}

std::string refusal(const Program& program) {
  try {
    make_plan(program, {});
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Plan, what_cannot_be_executed_is_refused_with_its_place) {
  Channel channel;
  EXPECT_THAT(refusal(from_cells({{"0F0"}, {"1F0"}}, channel, Profile::backprop)), HasSubstr("rank 1, op 0 (1F0): it needs data of another rank"));
  EXPECT_THAT(refusal(from_cells({{"0F0"}, {"1RECV_F0", "1F0"}}, channel, Profile::backprop)), HasSubstr("rank 1, op 0 (1RECV_F0): nothing sends"));
  EXPECT_THAT(refusal(from_cells({{"0F0"}, {"1F0", "1SEND_F0"}}, channel, Profile::local)), HasSubstr("rank 1, op 1 (1SEND_F0): there is no stage to send to"));
  Program batched = from_cells({{"0F0"}, {}}, channel, Profile::local);
  const Op parts[] = {*parse_cell("0SEND_F0")};
  batched.rows[0].push_back(batched.make_compound(Kind::BATCH_P2P, parts));
  EXPECT_THAT(refusal(batched), HasSubstr("expand it into its parts first"));
  Program reordered = from_cells({{"0F0"}, {}}, channel, Profile::local);
  reordered.ordering = Ordering::priority;
  EXPECT_THAT(refusal(reordered), HasSubstr("the executor walks rows in their order"));
}

}  // namespace
}  // namespace bubblescope
