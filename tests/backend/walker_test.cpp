// What a rank records: when its ops ran and what they waited for last.
#include "backend/walker.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "backend/null.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

Timeline run(const Program& program, const StageCosts& costs, Link link = {}) {
  NullBackend backend(costs);
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.network = uniform_cluster(program.ranks(), link);
  return execute(program, ranks, options).timeline;
}

Program scheduled(const std::string& name, std::int32_t ranks, std::int32_t microbatches, std::map<std::string, std::string> options = {}) {
  ScheduleShape shape;
  shape.ranks = ranks;
  shape.microbatches = microbatches;
  shape.options = std::move(options);
  return add_send_recv(generate(find_schedule(name), shape));
}

const Span& named(const Timeline& timeline, const std::string& name) {
  for (const Span& span : timeline.spans) {
    if (timeline.span_name(span) == name) return span;
  }
  throw std::out_of_range(name);
}

std::string waited_for(const Timeline& timeline, const Span& span) {
  return span.waited_for < 0 ? "nothing" : timeline.span_name(timeline.spans[static_cast<std::size_t>(span.waited_for)]);
}

/// `name` waited for `other`, because of `wait`.
void expect_wait(const Timeline& timeline, const std::string& name, Wait wait, const std::string& other) {
  EXPECT_EQ(wait_name(named(timeline, name).wait), wait_name(wait)) << name;
  EXPECT_EQ(waited_for(timeline, named(timeline, name)), other) << name;
}

// Durations so far apart that no hiccup of the machine changes who waits for whom.
constexpr Nanos kLong = 40 * kMillisecond;

TEST(Walker, a_starved_rank_waits_for_its_receive_that_waits_for_its_send_that_waits_for_its_data) {
  // A pipeline's send waits for its data; one that holds the rank stands behind its data on the rank.
  for (const auto& [schedule, sending] : {std::pair("gpipe", Wait::data), std::pair("ppll", Wait::stream)}) {
    SCOPED_TRACE(schedule);
    StageCosts costs(2);
    costs.at(0, Kind::F).duration = kLong;
    const Timeline timeline = run(scheduled(schedule, 2, 2), costs);
    expect_wait(timeline, "1F1", Wait::transfer, "1RECV_F1");
    expect_wait(timeline, "1RECV_F1", Wait::data, "0SEND_F1");
    expect_wait(timeline, "0SEND_F1", sending, "0F1");
    EXPECT_GE(named(timeline, "1F1").start, named(timeline, "0F1").end);
  }
}

TEST(Walker, an_op_whose_data_was_there_waits_for_its_own_stream) {
  StageCosts costs(2);
  costs.at(1, Kind::F).duration = kLong;
  const Timeline timeline = run(scheduled("gpipe", 2, 2), costs);
  expect_wait(timeline, "1F1", Wait::stream, "1F0");
  expect_wait(timeline, "0F0", Wait::nothing, "nothing");
  // Its transfer was over long before.
  EXPECT_LT(named(timeline, "1RECV_F1").end, named(timeline, "1F0").end);
}

TEST(Walker, a_full_queue_holds_its_producer) {
  StageCosts costs(2);
  costs.at(1, Kind::F).duration = kLong;
  const Timeline timeline = run(scheduled("ppll", 2, 3, {{"queue", "1"}}), costs);
  // Entry 1 goes into the queue when F0 of the consumer starts, entry 2 when F1 does.
  expect_wait(timeline, "0SEND_F2", Wait::capacity, "1F1");
  expect_wait(timeline, "0A2", Wait::capacity, "0SEND_F2");
  EXPECT_EQ(named(timeline, "0SEND_F2").end, named(timeline, "1F1").start);
}

TEST(Walker, a_rendezvous_holds_its_producer_until_the_consumer_comes) {
  StageCosts costs(2);
  costs.at(1, Kind::F).duration = kLong;
  const Timeline timeline = run(scheduled("ppll", 2, 2, {{"queue", "0"}}), costs);
  expect_wait(timeline, "0SEND_F1", Wait::capacity, "1RECV_F1");
  expect_wait(timeline, "0A1", Wait::capacity, "0SEND_F1");
  EXPECT_GE(named(timeline, "0A1").start, named(timeline, "1U0").end);
}

TEST(Walker, transfers_take_latency_and_bytes_over_bandwidth) {
  StageCosts costs(2);
  costs.bytes(0).output = 5000;
  const Timeline timeline = run(scheduled("gpipe", 2, 1), costs, {kLong, 1e6});  // 40 ms + 5 ms
  const Span& send = named(timeline, "0SEND_F0");
  EXPECT_EQ(send.end - send.start, kLong + 5 * kMillisecond);
  EXPECT_EQ(send.bytes, 5000);
  EXPECT_EQ(named(timeline, "1RECV_F0").bytes, 5000);
  EXPECT_EQ(named(timeline, "1RECV_F0").start, send.start);
  EXPECT_GE(named(timeline, "1F0").start, send.end);
  expect_wait(timeline, "1F0", Wait::transfer, "1RECV_F0");
}

TEST(Walker, transfers_of_one_fifo_stand_behind_each_other) {
  Program program = strip_communication(scheduled("gpipe", 2, 2));
  program.channels.front() = channel_mode("rank");
  const Timeline timeline = run(add_send_recv(program), StageCosts(2), {kLong, 0});
  expect_wait(timeline, "0SEND_F1", Wait::channel_order, "0SEND_F0");
  EXPECT_EQ(named(timeline, "0SEND_F1").start, named(timeline, "0SEND_F0").end);
}

TEST(Walker, ranks_that_come_early_to_a_barrier_wait_for_the_last) {
  StageCosts costs(2);
  costs.at(1, Kind::LB).duration = kLong;
  const Timeline timeline = run(scheduled("sequential-local", 2, 2, {{"variant", "overlapped"}}), costs);
  expect_wait(timeline, "0SYNC0", Wait::sync, "1SYNC0");
  expect_wait(timeline, "1SYNC0", Wait::stream, "1U0");
  expect_wait(timeline, "0F1", Wait::sync, "0SYNC0");
  EXPECT_EQ(named(timeline, "0SYNC0").start, named(timeline, "1SYNC0").start);
}

}  // namespace
}  // namespace bubblescope
