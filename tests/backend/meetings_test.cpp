// Barriers: sums in rank order, and one meeting after another.
#include "backend/meetings.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace bubblescope {
namespace {

TEST(Meetings, sums_are_added_in_rank_order_whoever_comes_first) {
  // 1e16 + 1 rounds back to 1e16, so the order of the additions shows: ((1e16 + 1) - 1e16) + 1 = 1,
  // while any order that adds the ones first, or last together, gives 2 or 0.
  const double values[] = {1e16, 1.0, -1e16, 1.0};
  const std::vector<GroupPlan> groups{{{0, 1, 2, 3}}};
  std::vector<Bell> bells(4);
  std::vector<Rank> order{3, 1, 0, 2};
  Meetings meetings(groups, bells);
  for (std::int64_t walk = 0; walk < 3; ++walk) {
    MeetingResult result;
    for (const Rank rank : order) {
      EXPECT_FALSE(meetings.complete(0, walk, result));
      meetings.arrive(0, walk, rank, values[rank], 10 * walk + rank, {rank, 7});
    }
    ASSERT_TRUE(meetings.complete(0, walk, result));
    EXPECT_EQ(result.total, 1.0);
    EXPECT_EQ(result.last, 10 * walk + 3);
    EXPECT_EQ(result.latest.rank, 3);
    std::rotate(order.begin(), order.begin() + 1, order.end());
  }
}

TEST(Meetings, a_member_may_be_at_the_next_meeting_before_another_saw_this_one_end) {
  const std::vector<GroupPlan> groups{{{0, 1}}};
  std::vector<Bell> bells(2);
  Meetings meetings(groups, bells);
  meetings.arrive(0, 0, 0, 1, 0, {});
  meetings.arrive(0, 0, 1, 2, 0, {});
  meetings.arrive(0, 1, 0, 10, 0, {});
  MeetingResult result;
  ASSERT_TRUE(meetings.complete(0, 0, result));
  EXPECT_EQ(result.total, 3);
  EXPECT_FALSE(meetings.complete(0, 1, result));
}

TEST(Meetings, threads_meet_again_and_again) {
  constexpr int kRanks = 4, kWalks = 500;
  GroupPlan everyone;
  for (Rank r = 0; r < kRanks; ++r) everyone.members.push_back(r);
  std::vector<Bell> bells(kRanks);
  Meetings meetings({&everyone, 1}, bells);
  std::vector<int> wrong(kRanks, 0);
  std::vector<std::thread> threads;
  for (Rank r = 0; r < kRanks; ++r) {
    threads.emplace_back([&, r] {
      const auto i = static_cast<std::size_t>(r);
      for (int walk = 0; walk < kWalks; ++walk) {
        meetings.arrive(0, walk, r, walk, walk, {});
        MeetingResult result;
        while (true) {
          const int ticket = bells[i].ticket();
          if (meetings.complete(0, walk, result)) break;
          bells[i].wait(ticket, 0);
        }
        if (result.total != kRanks * walk) ++wrong[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(kRanks, 0));
}

}  // namespace
}  // namespace bubblescope
