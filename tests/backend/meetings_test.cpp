// Meetings: what everyone brought in rank order, and one meeting after another.
#include "backend/meetings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace bubblescope {
namespace {

using testing::ElementsAre;

Payload number(std::int64_t value) { return {nullptr, value}; }

std::vector<std::int64_t> numbers(const MeetingResult& result) {
  std::vector<std::int64_t> all;
  if (!result.contributions) return all;
  for (const Payload& payload : *result.contributions) all.push_back(payload.bytes);
  return all;
}

TEST(Meetings, everyone_sees_what_all_brought_in_rank_order_whoever_comes_first) {
  const std::vector<GroupPlan> groups{{{0, 1, 2, 3}}};
  std::vector<Bell> bells(4);
  std::vector<Rank> order{3, 1, 0, 2};
  Meetings meetings(groups, bells);
  for (std::int64_t walk = 0; walk < 3; ++walk) {
    MeetingResult result;
    for (const Rank rank : order) {
      EXPECT_FALSE(meetings.complete(0, walk, result));
      meetings.arrive(0, walk, rank, number(100 * walk + rank), 10 * walk + rank, {rank, 7});
    }
    for (int member = 0; member < 4; ++member) {
      ASSERT_TRUE(meetings.complete(0, walk, result));
      EXPECT_THAT(numbers(result), ElementsAre(100 * walk, 100 * walk + 1, 100 * walk + 2, 100 * walk + 3));
      EXPECT_EQ(result.last, 10 * walk + 3);
      EXPECT_EQ(result.latest.rank, 3);
    }
    std::rotate(order.begin(), order.begin() + 1, order.end());
  }
}

TEST(Meetings, what_was_brought_goes_as_soon_as_everyone_has_it) {
  const std::vector<GroupPlan> groups{{{0, 1}}};
  std::vector<Bell> bells(2);
  Meetings meetings(groups, bells);
  std::weak_ptr<void> brought;
  for (const Rank rank : {0, 1}) {
    const auto data = std::make_shared<int>(0);
    brought = data;
    meetings.arrive(0, 0, rank, {data, 0}, 0, {});
  }
  MeetingResult first, second;
  ASSERT_TRUE(meetings.complete(0, 0, first));
  first = {};
  EXPECT_FALSE(brought.expired());  // the other has yet to see it
  ASSERT_TRUE(meetings.complete(0, 0, second));
  second = {};
  EXPECT_TRUE(brought.expired());
}

TEST(Meetings, a_member_may_be_at_the_next_meeting_before_another_saw_this_one_end) {
  const std::vector<GroupPlan> groups{{{0, 1}}};
  std::vector<Bell> bells(2);
  Meetings meetings(groups, bells);
  meetings.arrive(0, 0, 0, number(1), 0, {});
  meetings.arrive(0, 0, 1, number(2), 0, {});
  meetings.arrive(0, 1, 0, number(10), 0, {});
  MeetingResult result;
  ASSERT_TRUE(meetings.complete(0, 0, result));
  EXPECT_THAT(numbers(result), ElementsAre(1, 2));
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
        meetings.arrive(0, walk, r, number(walk), walk, {});
        MeetingResult result;
        while (true) {
          const int ticket = bells[i].ticket();
          if (meetings.complete(0, walk, result)) break;
          bells[i].wait(ticket, 0);
        }
        if (numbers(result) != std::vector<std::int64_t>(kRanks, walk)) ++wrong[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(kRanks, 0));
}

}  // namespace
}  // namespace bubblescope
