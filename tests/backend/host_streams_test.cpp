// Lanes keep their order, events join them.
#include "backend/host_streams.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "backend/clock.hpp"

namespace bubblescope {
namespace {

const std::vector<LaneSpec> kTwoLanes{{0, StreamKind::compute}, {1, StreamKind::compute}};

TEST(HostStreams, a_lane_does_its_work_in_order_and_later_than_it_is_given) {
  std::vector<int> done;
  std::atomic<bool> may_begin{false};
  const auto streams = host_streams(kTwoLanes, 1);
  streams->submit(0, [&] { may_begin.wait(false); });
  for (int i = 0; i < 3; ++i) streams->submit(0, [&done, i] { done.push_back(i); });
  streams->record(0, 0);
  EXPECT_LT(streams->time(0), 0);
  may_begin = true;
  may_begin.notify_all();
  streams->await(0);
  EXPECT_EQ(done, (std::vector<int>{0, 1, 2}));
  EXPECT_LE(streams->time(0), steady_now());
}

TEST(HostStreams, what_waits_for_an_event_runs_after_it) {
  HostStreamOptions options;
  options.delay = [](std::int32_t lane, std::int64_t) { return lane == 0 ? 5 * kMillisecond : Nanos{0}; };
  int value = 0, seen = -1;
  const auto streams = host_streams(kTwoLanes, 2, options);
  streams->submit(0, [&] { value = 7; });
  streams->record(0, 0);
  streams->wait(1, 0);
  streams->submit(1, [&] { seen = value; });
  streams->record(1, 1);
  streams->await(1);
  EXPECT_EQ(seen, 7);
  EXPECT_GE(streams->time(1), streams->time(0));
}

TEST(HostStreams, a_wait_that_is_forgotten_is_not_waited_for) {
  std::atomic<bool> may_end{false};
  HostStreamOptions options;
  options.forget = [](std::int32_t, std::int32_t event) { return event == 0; };
  const auto streams = host_streams(kTwoLanes, 2, options);
  streams->submit(0, [&] { may_end.wait(false); });
  streams->record(0, 0);
  streams->wait(1, 0);
  streams->record(1, 1);
  streams->await(1);  // would not return
  EXPECT_LT(streams->time(0), 0);
  may_end = true;
  may_end.notify_all();
}

TEST(HostStreams, an_event_can_be_recorded_again) {
  const auto streams = host_streams(kTwoLanes, 1);
  streams->record(0, 0);
  streams->await(0);
  const Nanos first = streams->time(0);
  streams->submit(0, [] { wait_until(steady_now() + kMillisecond); });
  streams->record(0, 0);
  streams->await(0);
  EXPECT_GE(streams->time(0), first + kMillisecond);
}

TEST(HostStreams, lanes_enter_with_their_rank) {
  std::atomic<int> entered{0};
  HostStreamOptions options;
  options.enter = [&](Rank rank) { entered += rank == 0 ? 1 : 10; };
  host_streams(kTwoLanes, 0, options).reset();
  EXPECT_EQ(entered, 11);
}

}  // namespace
}  // namespace bubblescope
