// Iterations one after another, with and without draining in between.
#include "sim/core/program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

using testing::ElementsAre;

std::string row_text(const Program& program, Rank rank) {
  std::string text;
  for (const Op& op : program.rows[static_cast<std::size_t>(rank)]) {
    text += (text.empty() ? "" : " ") + cell(program, op);
    const Op& first = program.parts_of(op).front();
    for (int i = 0; i < first.iteration; ++i) text += '\'';
  }
  return text;
}

TEST(RepeatIterations, puts_them_one_after_another) {
  const Program twice = repeat_iterations(program_of({"0F0,(0F1;0B0)OVERLAP_F_B,0B1,0U"}), 2);
  EXPECT_EQ(row_text(twice, 0), "0F0 (0F1;0B0)OVERLAP_F_B 0B1 0U 0F0' (0F1;0B0)OVERLAP_F_B' 0B1' 0U'");
  EXPECT_EQ(twice.iterations, 2);
}

TEST(RepeatIterations, lets_the_end_of_one_run_beside_the_beginning_of_the_next) {
  // The last two ops come after one and after two of the next iteration's.
  const Program stream = program_of({"0F0,0F1,0F2,0B0,0F3,0B1,0B2,0B3"}, "#overlap 0 1 2\n");
  EXPECT_EQ(row_text(repeat_iterations(stream, 1), 0), "0F0 0F1 0F2 0B0 0F3 0B1 0B2 0B3");
  EXPECT_EQ(row_text(repeat_iterations(stream, 3), 0),
            "0F0 0F1 0F2 0B0 0F3 0B1 "
            "0F0' 0B2 0F1' 0B3 0F2' 0B0' 0F3' 0B1' "
            "0F0'' 0B2' 0F1'' 0B3' 0F2'' 0B0'' 0F3'' 0B1'' "
            "0B2'' 0B3''");
}

TEST(RepeatIterations, repeats_what_is_repeated_already) {
  const Program stream = program_of({"0F0,0F1,0B0,0B1"}, "#overlap 0 1\n");
  EXPECT_EQ(repeat_iterations(repeat_iterations(stream, 2), 2).rows, repeat_iterations(stream, 4).rows);
}

TEST(RepeatIterations, transfers_follow_the_op_before_them) {
  const Program stream = program_of({"0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1", "1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1"}, "#overlap 0 1\n");
  EXPECT_EQ(row_text(repeat_iterations(stream, 2), 0),
            "0F0 0SEND_F0 0F1 0SEND_F1 0RECV_B0 0B0 0RECV_B1 0F0' 0SEND_F0' 0B1 0F1' 0SEND_F1' 0RECV_B0' 0B0' 0RECV_B1' 0B1'");
}

TEST(RepeatIterations, a_barrier_of_the_drain_is_one_of_the_next_iterations) {
  // Steps end with a barrier; the last step runs beside the next iteration's first one.
  const Program stream = program_of({"0F0,0SYNC0,0F1,0B0,0SYNC1,0B1,0SYNC2"}, "#overlap 0 1 2\n");
  EXPECT_EQ(row_text(repeat_iterations(stream, 2), 0), "0F0 0SYNC0 0F1 0B0 0SYNC1 0F0' 0B1 0SYNC0' 0F1' 0B0' 0SYNC1' 0B1' 0SYNC2'");
}

TEST(StreamOrder, has_every_op_once) {
  const auto order = stream_order(program_of({"0F0,0F1,0B0,0B1"}, "#overlap 0 9\n"), 0);  // after more than there are: last
  std::vector<std::int32_t> positions;
  for (const StreamOp& op : order) positions.push_back(op.position);
  EXPECT_THAT(positions, ElementsAre(0, 1, 2, 3));
  EXPECT_TRUE(order.back().late);
}

}  // namespace
}  // namespace bubblescope
