// Meetings: what everyone brought in rank order, and one meeting after another.
#include "backend/meetings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <thread>
#include <utility>
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

/// What a process was told of another's members, to be passed on in any order.
struct Told {
  std::int32_t group;
  std::int64_t walk;
  Rank rank;
  Payload contribution;
  Nanos now;
  SpanRef span;
};

/// A process with some of the ranks.
class Side final : public RemoteMembers {
 public:
  Side(std::span<const GroupPlan> groups, std::span<Bell> bells, Rank first, Rank last) : first_(first), last_(last), meetings(groups, bells, this) {}
  bool here(Rank rank) const override { return rank >= first_ && rank < last_; }
  void came(std::int32_t group, std::int64_t walk, Rank rank, const Payload& contribution, Nanos now, SpanRef span) override { told.push_back({group, walk, rank, contribution, now, span}); }
  void hear(const Told& one) { meetings.came(one.group, one.walk, one.rank, one.contribution, one.now, one.span); }

  std::vector<Told> told;

 private:
  Rank first_, last_;

 public:
  Meetings meetings;  // last: it asks who is here
};

TEST(Meetings, members_of_other_processes_bring_what_they_have_and_members_alone_are_told_of_it) {
  const std::vector<GroupPlan> groups{{{0, 3}}, {{0, 1, 2, 3}}};
  std::vector<Bell> bells(4);
  Side here(groups, bells, 0, 2), there(groups, bells, 2, 4);
  here.meetings.arrive(0, 0, 0, number(10), 100, {0, 4});
  ASSERT_EQ(here.told.size(), 1u);
  const int rung = bells[0].ticket();
  MeetingResult result;
  EXPECT_FALSE(here.meetings.complete(0, 0, result));
  here.meetings.came(0, 0, 3, number(13), 130, {3, 9});
  EXPECT_NE(bells[0].ticket(), rung);
  ASSERT_TRUE(here.meetings.complete(0, 0, result));
  EXPECT_THAT(numbers(result), ElementsAre(10, 13));
  EXPECT_EQ(result.last, 130);
  EXPECT_EQ(result.latest.rank, 3);
  EXPECT_EQ(result.latest.index, 9);
  // The one member that is here knows it: what was brought is let go of.
  EXPECT_FALSE(here.meetings.complete(0, 1, result));
  there.meetings.arrive(0, 0, 3, number(13), 130, {3, 9});
  EXPECT_EQ(there.told.size(), 1u);
  there.hear(here.told.front());
  ASSERT_TRUE(there.meetings.complete(0, 0, result));
  EXPECT_THAT(numbers(result), ElementsAre(10, 13));
}

TEST(Meetings, what_came_from_another_process_goes_as_soon_as_everyone_here_has_it) {
  const std::vector<GroupPlan> groups{{{0, 1, 2}}};
  std::vector<Bell> bells(3);
  Side here(groups, bells, 0, 2);
  const auto data = std::make_shared<int>(0);
  const std::weak_ptr<void> brought = data;
  here.meetings.came(0, 0, 2, {data, 0}, 0, {});
  for (const Rank rank : {0, 1}) here.meetings.arrive(0, 0, rank, {}, 0, {});
  MeetingResult result;
  for (int member = 0; member < 2; ++member) ASSERT_TRUE(here.meetings.complete(0, 0, result));
  EXPECT_EQ(data.use_count(), 2);  // the test's and the result's
  result = {};
  EXPECT_EQ(data.use_count(), 1);
}

// Rank 2 has seen both ranks of the other process come and is at the next meeting; rank 3's news of the first is late.
TEST(Meetings, a_member_of_another_process_may_be_a_walk_ahead_before_all_were_heard_of) {
  const std::vector<GroupPlan> groups{{{0, 1, 2, 3}}};
  std::vector<Bell> bells(4);
  Side here(groups, bells, 0, 2);
  here.meetings.arrive(0, 0, 0, number(0), 1, {});
  here.meetings.arrive(0, 0, 1, number(1), 2, {});
  here.meetings.came(0, 1, 2, number(12), 50, {2, 1});
  here.meetings.came(0, 0, 2, number(2), 3, {2, 0});
  MeetingResult result;
  EXPECT_FALSE(here.meetings.complete(0, 0, result));
  here.meetings.came(0, 1, 3, number(13), 60, {3, 1});
  EXPECT_FALSE(here.meetings.complete(0, 0, result));
  here.meetings.came(0, 0, 3, number(3), 4, {3, 0});
  ASSERT_TRUE(here.meetings.complete(0, 0, result));
  EXPECT_THAT(numbers(result), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(result.last, 4);
  here.meetings.arrive(0, 1, 0, number(10), 70, {0, 1});  // rank 1 has yet to see the first one's end
  EXPECT_FALSE(here.meetings.complete(0, 1, result));
  ASSERT_TRUE(here.meetings.complete(0, 0, result));
  EXPECT_THAT(numbers(result), ElementsAre(0, 1, 2, 3));
  here.meetings.arrive(0, 1, 1, number(11), 80, {1, 1});
  ASSERT_TRUE(here.meetings.complete(0, 1, result));
  EXPECT_THAT(numbers(result), ElementsAre(10, 11, 12, 13));
  EXPECT_EQ(result.last, 80);
}

TEST(Meetings, processes_meet_walk_after_walk_whatever_order_news_comes_in) {
  constexpr Rank kRanks = 6;
  const std::vector<GroupPlan> groups{{{0, 1, 2, 3, 4, 5}}, {{1, 2, 5}}};
  std::mt19937 random(3);
  std::vector<Bell> bells(kRanks);
  std::vector<std::unique_ptr<Side>> sides;
  for (Rank p = 0; p < 3; ++p) sides.push_back(std::make_unique<Side>(groups, bells, 2 * p, 2 * p + 2));
  struct Place {
    std::int64_t walk = 0;
    std::size_t group = 0;
    bool arrived = false;
  };
  std::vector<Place> places(kRanks);
  std::vector<std::pair<std::size_t, Told>> under_way;  // to whom
  constexpr std::int64_t kWalks = 50;
  for (int turn = 0; turn < 100'000; ++turn) {
    if (random() % 2 == 0 && !under_way.empty()) {
      std::swap(under_way[random() % under_way.size()], under_way.back());
      sides[under_way.back().first]->hear(under_way.back().second);
      under_way.pop_back();
      continue;
    }
    const auto rank = static_cast<Rank>(random() % kRanks);
    Place& place = places[static_cast<std::size_t>(rank)];
    const auto& members = groups[place.group].members;
    if (place.walk == kWalks) continue;
    Side& side = *sides[static_cast<std::size_t>(rank / 2)];
    const auto group = static_cast<std::int32_t>(place.group);
    const bool takes_part = std::count(members.begin(), members.end(), rank) > 0;
    if (takes_part && !std::exchange(place.arrived, true)) {
      side.meetings.arrive(group, place.walk, rank, number(100 * place.walk + rank), turn, {});
      for (const Told& one : std::exchange(side.told, {})) {
        for (std::size_t p = 0; p < sides.size(); ++p) {
          if (sides[p].get() != &side && std::any_of(members.begin(), members.end(), [&](Rank member) { return sides[p]->here(member); })) under_way.emplace_back(p, one);
        }
      }
    }
    MeetingResult result;
    if (takes_part && !side.meetings.complete(group, place.walk, result)) continue;
    std::vector<std::int64_t> expected;
    for (const Rank member : members) expected.push_back(100 * place.walk + member);
    if (takes_part) {
      ASSERT_EQ(numbers(result), expected);
    }
    place.arrived = false;
    if (++place.group == groups.size()) place = {place.walk + 1, 0, false};
  }
  for (const Place& place : places) EXPECT_EQ(place.walk, kWalks);
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
