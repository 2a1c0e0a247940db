// Channel order and deadlock (V2, V3), on orders small enough to follow by hand.
#include "sim/core/constraints.hpp"

#include <gtest/gtest.h>

#include "sim/lower/send_recv.hpp"
#include "sim/lower/torch_csv.hpp"

namespace bubblescope {
namespace {

Program order(const char* csv) { return from_torch_csv(csv, "order.csv"); }

TEST(CheckProgress, accepts_1f1b_under_every_channel_mode) {
  Program program = add_send_recv(order("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n"));
  for (const std::string& mode : channel_mode_names()) {
    program.channels = {channel_mode(mode)};
    EXPECT_TRUE(check_progress(program).empty()) << mode;
  }
}

TEST(CheckProgress, finds_a_cycle_of_the_order_alone) {
  // 1F1 waits for 0F1, which stands behind 0B0, which waits for 1B0, which stands behind 1F1.
  const auto findings = check_progress(order("0F0,0B0,0F1,0B1\n1F1,1B1,1F0,1B0\n"));
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].level, 2);
  EXPECT_GE(findings[0].cycle.size(), 3u);
}

TEST(CheckProgress, finds_a_receive_posted_before_the_send_its_peer_waits_for) {
  // Both ranks first post a receive on their only FIFO: a rendezvous can never start.
  Program program = order("0F0,0RECV_B0,0SEND_F0,0B0\n1RECV_F0,1F0,1B0,1SEND_B0\n");
  EXPECT_TRUE(check_progress(program).empty());
  program.channels = {channel_mode("rank")};
  const auto findings = check_progress(program);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].level, 3);
  program.channels = {channel_mode("data")};
  EXPECT_TRUE(check_progress(program).empty());
}

TEST(CheckProgress, finds_swapped_messages) {
  Program program = order("0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0RECV_B1,0B0,0B1\n1RECV_F1,1RECV_F0,1F0,1F1,1B0,1SEND_B0,1B1,1SEND_B1\n");
  EXPECT_TRUE(check_progress(program).empty());
  program.channels = {channel_mode("edge")};
  // By order alone the data would be swapped; matched by name, 0SEND_F0 waits behind nothing for 1RECV_F0,
  // which stands behind 1RECV_F1, which waits for 0SEND_F1, which stands behind 0SEND_F0.
  const auto findings = check_progress(program);
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].level, 3);
  EXPECT_EQ(findings[0].op, "1RECV_F1");
  EXPECT_NE(findings[0].message.find("receive 0 from rank 0 is 1RECV_F1, but send 0 of that rank is 0SEND_F0"), std::string::npos) << findings[0].message;
  EXPECT_EQ(findings[1].level, 3);
  EXPECT_EQ(findings[1].cycle.size(), 4u);
  program.channels = {channel_mode("edge,eager")};
  EXPECT_EQ(check_progress(program).size(), 1u);  // nothing waits, but the data would still be swapped
}

}  // namespace
}  // namespace bubblescope
