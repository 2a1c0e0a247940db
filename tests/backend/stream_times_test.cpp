// What a measured op waited for.
#include "backend/stream_times.hpp"

#include <gtest/gtest.h>

#include <map>

#include "tests/backend/stream_runs.hpp"

namespace bubblescope {
namespace {

/// Runs a program with one lane late, and finds spans by their cell.
class Measured {
 public:
  Measured(const Program& program, std::int32_t late_lane) {
    HostStreamOptions streams;
    streams.delay = [late_lane](std::int32_t lane, std::int64_t) { return lane == late_lane ? 5 * kMillisecond : 200 * kMicrosecond; };
    ExecuteOptions options;
    timeline_ = run_on_streams(program, streams, options).timeline;
  }
  const Span& operator[](const std::string& cell) const {
    for (const Span& span : timeline_.spans) {
      if (timeline_.span_name(span) == cell) return span;
    }
    throw std::logic_error("no " + cell);
  }
  std::string cause(const std::string& cell) const {
    const Span& span = (*this)[cell];
    return span.waited_for < 0 ? "" : timeline_.span_name(timeline_.spans[at(span.waited_for)]);
  }

 private:
  Timeline timeline_;
};

// GPipe on two ranks, each op of rank 0 five milliseconds: rank 1 waits for what it receives.
TEST(StreamTimes, an_op_waited_for_the_transfer_that_came_last) {
  Program order = generate(find_schedule("gpipe"), {.ranks = 2, .microbatches = 3});
  order.channels = {channel_mode("async")};
  const Measured run(add_send_recv(order), 0);
  EXPECT_EQ(run["1F1"].wait, Wait::transfer);
  EXPECT_EQ(run.cause("1F1"), "0SEND_F1");
  EXPECT_EQ(run["1RECV_F1"].end, run["0SEND_F1"].end);
  EXPECT_EQ(run["1RECV_F1"].bytes, 1000);
  EXPECT_EQ(run["0F1"].wait, Wait::stream);
  EXPECT_EQ(run.cause("0F1"), "0F0");
}

// PPLL with a queue of one entry, rank 1 slow: rank 0 offers entry 2 and is held until F of entry 1 has started.
TEST(StreamTimes, a_send_that_held_its_rank_waited_for_room) {
  const Measured run(on_ranks(find_schedule("ppll"), 2, {{"queue", "1"}}), 1);
  EXPECT_EQ(run["0SEND_F2"].wait, Wait::capacity);
  EXPECT_EQ(run.cause("0SEND_F2"), "1F1");
  EXPECT_GE(run["0SEND_F2"].end, run["1F1"].start);
  EXPECT_LT(run["0SEND_F2"].start, run["1F1"].start);
}

}  // namespace
}  // namespace bubblescope
