// Rows of sequential local learning in its three variants.
#include <gtest/gtest.h>

#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

Program generate_variant(const std::string& variant, std::int32_t ranks, std::int32_t microbatches) {
  return generate(find_schedule("sequential-local"),
                  {.ranks = ranks, .microbatches = microbatches, .options = {{"variant", variant}}});
}

TEST(SequentialLocal, serial_is_the_default_and_hands_on_after_the_update) {
  const Program program = generate(find_schedule("sequential-local"), {.ranks = 2, .microbatches = 1});
  EXPECT_EQ(program.profile, Profile::local_serial);
  EXPECT_EQ(rows_of(add_send_recv(program)),
            (std::vector<std::string>{"0F0,0A0,0LB0,0U0,0SEND_F0,0SYNC0", "1RECV_F0,1F0,1A0,1LB0,1U0,1SYNC0"}));
}

TEST(SequentialLocal, overlapped_hands_on_after_the_forward_and_meets_after_every_microbatch) {
  const Program program = generate_variant("overlapped", 2, 2);
  EXPECT_EQ(program.profile, Profile::local);
  EXPECT_EQ(rows_of(add_send_recv(program)),
            (std::vector<std::string>{"0F0,0SEND_F0,0A0,0LB0,0U0,0SYNC0,0F1,0SEND_F1,0A1,0LB1,0U1,0SYNC1",
                                      "1RECV_F0,1F0,1A0,1LB0,1U0,1SYNC0,1RECV_F1,1F1,1A1,1LB1,1U1,1SYNC1"}));
}

TEST(SequentialLocal, blockwise_works_on_one_rank_per_phase) {
  const Program program = generate_variant("blockwise", 3, 2);
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,0A0,0LB0,0U0,0F1,0A1,0LB1,0U1,0SYNC0,0SYNC1,0SYNC2",
                                                        "1SYNC0,1F0,1A0,1LB0,1U0,1F1,1A1,1LB1,1U1,1SYNC1,1SYNC2",
                                                        "2SYNC0,2SYNC1,2F0,2A0,2LB0,2U0,2F1,2A1,2LB1,2U1,2SYNC2"}));
}

TEST(SequentialLocal, one_rank_with_all_stages_trains_them_in_turn_and_sends_nothing) {
  const Program program = generate(find_schedule("sequential-local"), {.ranks = 1, .microbatches = 2, .options = {{"chunks", "2"}}});
  EXPECT_EQ(rows_of(add_send_recv(program)),
            (std::vector<std::string>{"0F0,0A0,0LB0,0U0,1F0,1A0,1LB0,1U0,0SYNC0,0F1,0A1,0LB1,0U1,1F1,1A1,1LB1,1U1,0SYNC1"}));
}

TEST(SequentialLocal, blockwise_with_chunks_has_a_phase_per_stage) {
  const Program program = generate(find_schedule("sequential-local"),
                                   {.ranks = 2, .microbatches = 1, .options = {{"variant", "blockwise"}, {"chunks", "2"}}});
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,0A0,0LB0,0U0,0SYNC0,0SYNC1,2F0,2A0,2LB0,2U0,0SYNC2,0SYNC3",
                                                        "1SYNC0,1F0,1A0,1LB0,1U0,1SYNC1,1SYNC2,3F0,3A0,3LB0,3U0,1SYNC3"}));
}

TEST(SequentialLocal, features_wait_in_an_unbounded_channel) {
  const Channel cache{.capacity = kUnbounded, .receive = Receive::at_use, .send = Send::holding};
  for (const char* variant : {"serial", "overlapped", "blockwise"}) {
    EXPECT_EQ(generate_variant(variant, 2, 2).channels, std::vector<Channel>{cache}) << variant;
  }
}

TEST(SequentialLocal, updates_come_after_every_kth_microbatch) {
  const Program program = generate(find_schedule("sequential-local"),
                                   {.ranks = 1, .microbatches = 2, .options = {{"accumulate", "2"}}});
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,0A0,0LB0,0SYNC0,0F1,0A1,0LB1,0U1,0SYNC1"}));
}

}  // namespace
}  // namespace bubblescope
