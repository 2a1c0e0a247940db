// The critical path, what lies on it, and what faster parts would gain.
#include "analysis/critical_path.hpp"

#include <algorithm>
#include <random>

#include <rapidcheck.h>

#include "analysis/bubbles.hpp"
#include "sim/core/error.hpp"
#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

Nanos at(const CriticalPath& path, Kind kind) { return path.by_kind[static_cast<int>(kind)]; }

// GPipe, 2 ranks, m = 2, F = 1, B = 2 (times in idle_test.cpp): 0F0 0-1, 1F0 1-2, 1F1 2-3, 1B0 3-5,
// 0B0 5-7, 0B1 7-9. Ties (0F1 before 1F1, 1B1 before 0B1) go to what the op is recorded to have
// waited for, its own stream.
TEST(CriticalPath, of_gpipe_goes_down_the_ranks_and_back) {
  const Timeline timeline = pipeline(2, 2, false, 1, 2);
  const CriticalPath path = critical_path(timeline);
  std::vector<std::string> cells;
  for (const auto i : path.spans) cells.push_back(timeline.span_name(timeline.spans[i]));
  EXPECT_EQ(cells, (std::vector<std::string>{"0F0", "1F0", "1F1", "1B0", "0B0", "0B1"}));
  EXPECT_EQ(path.length, 9);
  EXPECT_EQ(path.makespan, 9);
  EXPECT_EQ(path.waiting, 0);
  EXPECT_EQ(path.by_stage, (std::vector<Nanos>{5, 4}));
  EXPECT_EQ(at(path, Kind::F), 3);
  EXPECT_EQ(at(path, Kind::B), 6);
}

// One microbatch over a latency of 2: F 0-3, wire, F 5-8, B 8-13, wire, B 15-20.
TEST(CriticalPath, counts_latency_as_time_on_its_link) {
  const CriticalPath path = critical_path(pipeline(2, 1, false, 3, 5, 2));
  EXPECT_EQ(path.compute, 16);
  EXPECT_EQ(path.wire, 4);
  EXPECT_EQ(path.by_link, (std::vector<LinkTime>{{0, 1, 2}, {1, 0, 2}}));
}

// A transfer as spans of its own: 0F0 0-4, wire 4-9, 1F0 9-10.
TEST(CriticalPath, counts_transfer_spans_as_time_on_their_link) {
  TimelineBuilder builder(2, 2, 1);
  const auto f = builder.add(0, "0F0", 0, 4);
  const auto send = builder.add(0, "0SEND_F0", 4, 9, Wait::data, f);
  const auto recv = builder.add(1, "1RECV_F0", 4, 9, Wait::data, send);
  builder.add(1, "1F0", 9, 10, Wait::transfer, recv);
  const CriticalPath path = critical_path(builder.timeline());
  EXPECT_EQ(path.wire, 5);
  EXPECT_EQ(path.by_link, (std::vector<LinkTime>{{0, 1, 5}}));
  EXPECT_EQ(path.length, 10);
}

// 0F2 waits for its queue, full until 1F0 starts at 9; rank 1 is late because of 1U0 (0-9). The path is
// 1U0, then 0F2 (9-14): neither 1F0 nor the time that rank 0 stood is on it.
TEST(CriticalPath, goes_through_the_start_of_the_consumer_that_freed_a_queue) {
  TimelineBuilder builder(2, 2, 3);
  builder.add(0, "0F1", 0, 4);
  const auto update = builder.add(1, "1U0", 0, 9);
  const auto taken = builder.add(1, "1F0", 9, 12, Wait::stream, update);
  const auto send = builder.add(0, "0SEND_F1", 4, 9, Wait::capacity, taken);
  const auto last = builder.add(0, "0F2", 9, 14, Wait::capacity, send);
  const CriticalPath path = critical_path(builder.timeline());
  EXPECT_EQ(path.spans, (std::vector<std::int32_t>{update, last}));
  EXPECT_EQ(path.length, 14);
  EXPECT_EQ(path.waiting, 0);
  EXPECT_EQ(at(path, Kind::U), 9);
}

TEST(CriticalPath, shows_unexplained_time_as_waiting) {
  TimelineBuilder builder(1, 1, 2);
  const auto f = builder.add(0, "0F0", 1, 4);
  builder.add(0, "0F1", 6, 9, Wait::stream, f);
  const CriticalPath path = critical_path(builder.timeline());
  EXPECT_EQ(path.makespan, 9);
  EXPECT_EQ(path.length, 6);
  EXPECT_EQ(path.waiting, 3);
  EXPECT_EQ(path.by_wait[static_cast<int>(Wait::stream)], 2);
  EXPECT_EQ(path.by_wait[static_cast<int>(Wait::nothing)], 1);
}

TEST(CriticalPath, shares_a_compound_among_its_stages) {
  TimelineBuilder builder(1, 2, 2);
  builder.add(0, "(0F1;1B0)OVERLAP_F_B", 0, 5);
  const CriticalPath path = critical_path(builder.timeline());
  EXPECT_EQ(path.by_stage, (std::vector<Nanos>{3, 2}));
  EXPECT_EQ(at(path, Kind::OVERLAP_F_B), 5);
}

// 1F1 follows 1F0 and 0F1 at one and the same time, and is recorded to have waited for 0F1.
TEST(CriticalPath, follows_the_recorded_wait_where_two_end_together) {
  TimelineBuilder builder(2, 2, 2);
  const auto needed = builder.add(0, "0F1", 0, 5);
  builder.add(1, "1F0", 0, 5);
  const auto last = builder.add(1, "1F1", 5, 6, Wait::data, needed);
  EXPECT_EQ(critical_path(builder.timeline()).spans, (std::vector<std::int32_t>{needed, last}));
}

// Two transfers that each name the other, at one and the same time.
TEST(CriticalPath, takes_mutual_waits_of_a_rendezvous) {
  TimelineBuilder builder(2, 2, 1);
  const auto f = builder.add(0, "0F0", 0, 3);
  const auto recv = builder.add(1, "1RECV_F0", 3, 3, Wait::data);
  const auto send = builder.add(0, "0SEND_F0", 3, 3, Wait::capacity, recv);
  builder.timeline().spans[recv].waited_for = send;
  builder.add(1, "1F0", 3, 4, Wait::data, recv);
  (void)f;
  EXPECT_EQ(critical_path(builder.timeline()).makespan, 4);
}

TEST(CriticalPath, is_between_the_busiest_rank_and_the_makespan) {
  const bool ok = rc::check([] {
    const auto p = *rc::gen::inRange(1, 6), m = *rc::gen::inRange(1, 9);
    const auto f = *rc::gen::inRange(1, 50), b = *rc::gen::inRange(1, 50), latency = *rc::gen::inRange(0, 10);
    const Timeline timeline = pipeline(p, m, *rc::gen::arbitrary<bool>(), f, b, latency);
    const CriticalPath path = critical_path(timeline);
    const Bubbles bound = bubbles(timeline);
    RC_ASSERT(path.length <= bound.makespan);
    for (const RankTimes& rank : bound.ranks) RC_ASSERT(path.length >= rank.busy);
    RC_ASSERT(path.compute + path.wire + path.other + path.waiting == path.makespan);
    RC_ASSERT(path.waiting == 0);
    RC_ASSERT(path.makespan == bound.makespan);
  });
  EXPECT_TRUE(ok);
}

// GPipe 2 ranks, m = 2, F = B = 100: makespan 600. Stage 1 10 % faster: 1F0 100-190, 1F1 200-290 (0F1
// ends at 200: a wait that did not bind before), 1B0 290-380, 0B0 380-480, 0B1 480-580. Stage 0 10 %
// faster: 1F0 90-190, 1F1 190-290, 1B0 290-390, 1B1 390-490, 0B0 390-480, 0B1 490-580 (again a wait
// that did not bind before; without it the gain would be 30).
TEST(Sensitivity, of_stages_is_the_walk_again_with_shorter_times) {
  const std::vector<Sensitivity> gains = sensitivities(pipeline(2, 2, false, 100, 100), 10);
  ASSERT_EQ(gains.size(), 2u);
  EXPECT_EQ(gains[0].what, "stage 0");
  EXPECT_EQ(gains[0].gain, 20);
  EXPECT_EQ(gains[1].what, "stage 1");
  EXPECT_EQ(gains[1].gain, 20);
  EXPECT_EQ(gains[1].makespan, 580);
}

TEST(Sensitivity, of_a_link_is_its_share_of_the_path) {
  const std::vector<Sensitivity> gains = sensitivities(pipeline(2, 1, false, 300, 500, 200), 50);
  ASSERT_EQ(gains.size(), 4u);
  EXPECT_EQ(gains[2].what, "link 0->1");
  EXPECT_EQ(gains[2].gain, 100);
  EXPECT_EQ(gains[3].what, "link 1->0");
}

TEST(Sensitivity, of_the_launch_cost_takes_late_issues) {
  TimelineBuilder builder(1, 1, 2);
  const auto f = builder.add(0, "0F0", 0, 400);
  builder.add(0, "0F1", 600, 900, Wait::host, f);
  const std::vector<Sensitivity> gains = sensitivities(builder.timeline(), 50);
  ASSERT_EQ(gains.size(), 2u);
  EXPECT_EQ(gains[1].what, "launch");
  EXPECT_EQ(gains[1].gain, 100);
}

TEST(Sensitivity, refuses_no_or_too_much_speed_up) {
  const Timeline timeline = pipeline(1, 1, false, 1, 1);
  EXPECT_THROW(sensitivities(timeline, 0), InputError);
  EXPECT_THROW(sensitivities(timeline, 101), InputError);
}

}  // namespace
}  // namespace bubblescope
