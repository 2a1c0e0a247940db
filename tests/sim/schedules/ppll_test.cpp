// Rows, channel and profile of PPLL.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

const Schedule& ppll() { return find_schedule("ppll"); }

TEST(Ppll, trains_and_updates_on_every_microbatch) {
  const Program program = generate(ppll(), {.ranks = 2, .microbatches = 2});
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,0A0,0LB0,0U0,0F1,0A1,0LB1,0U1", "1F0,1A0,1LB0,1U0,1F1,1A1,1LB1,1U1"}));
  EXPECT_EQ(program.profile, Profile::local);
  EXPECT_TRUE(ppll().local);
  EXPECT_FALSE(ppll().flush);
}

TEST(Ppll, its_queue_holds_two_entries_unless_told_and_holds_the_sender) {
  const Channel queue{.fifo = Fifo::edge, .capacity = 2, .receive = Receive::at_use, .send = Send::holding};
  EXPECT_EQ(generate(ppll(), {.ranks = 2}).channels, std::vector<Channel>{queue});
  EXPECT_EQ(generate(ppll(), {.ranks = 2, .options = {{"queue", "0"}}}).channels.front().capacity, 0);
}

TEST(Ppll, early_forwarding_sends_right_after_the_forward) {
  const Program program = add_send_recv(generate(ppll(), {.ranks = 2, .microbatches = 2}));
  EXPECT_EQ(rows_of(program),
            (std::vector<std::string>{"0F0,0SEND_F0,0A0,0LB0,0U0,0F1,0SEND_F1,0A1,0LB1,0U1",
                                      "1RECV_F0,1F0,1A0,1LB0,1U0,1RECV_F1,1F1,1A1,1LB1,1U1"}));
}

TEST(Ppll, late_forwarding_sends_after_the_last_op_of_the_microbatch) {
  // Accumulating over two microbatches, the first one has no update: its last op is LB.
  const Program program = add_send_recv(
      generate(ppll(), {.ranks = 2, .microbatches = 2, .options = {{"forward", "late"}, {"accumulate", "2"}}}));
  EXPECT_EQ(program.profile, Profile::local_serial);
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,0A0,0LB0,0SEND_F0,0F1,0A1,0LB1,0U1,0SEND_F1",
                                                        "1RECV_F0,1F0,1A0,1LB0,1RECV_F1,1F1,1A1,1LB1,1U1"}));
}

TEST(Ppll, microbatches_that_do_not_fill_an_update_are_refused) {
  try {
    generate(ppll(), {.ranks = 2, .microbatches = 3, .options = {{"accumulate", "2"}}});
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("3 microbatches with 'accumulate' 2"));
  }
}

}  // namespace
}  // namespace bubblescope
