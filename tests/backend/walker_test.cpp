// What a rank records: when its ops ran and what they waited for last.
#include "backend/walker.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend/null.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

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

/// `op` waited for `other`, because of `wait`.
struct Expected {
  std::string op;
  Wait wait;
  std::string other;
};

std::string mismatches(const Timeline& timeline, const std::vector<Expected>& expected) {
  std::string text;
  for (const Expected& e : expected) {
    const Span& span = named(timeline, e.op);
    const std::string other = span.waited_for < 0 ? "nothing" : timeline.span_name(timeline.spans[static_cast<std::size_t>(span.waited_for)]);
    if (span.wait != e.wait || other != e.other) {
      text += fmt::format("{} waited for {} ({}); expected {} ({})\n", e.op, other, wait_name(span.wait), e.other, wait_name(e.wait));
    }
  }
  return text;
}

/// Where time goes; `longer` is what makes others wait.
struct Conditions {
  StageCosts costs;
  Link link;
};

/// Runs `program`, again with longer times where the machine's own hiccups changed who waits for whom,
/// until everything waited for what it should; returns that run.
Timeline expect_waits(const Program& program, const std::function<Conditions(Nanos longer)>& conditions, const std::vector<Expected>& expected) {
  Timeline timeline;
  std::string wrong;
  for (Nanos longer = 5 * kMillisecond; longer < kSecond; longer *= 2) {
    const Conditions now = conditions(longer);
    NullBackend backend(now.costs);
    Ranks ranks(backend, program, {});
    ExecuteOptions options;
    options.network = uniform_cluster(program.ranks(), now.link);
    timeline = execute(program, ranks, options).timeline;
    wrong = mismatches(timeline, expected);
    if (wrong.empty()) return timeline;
  }
  ADD_FAILURE() << wrong;
  return timeline;
}

/// One (stage, kind) takes long.
std::function<Conditions(Nanos)> slow(Stage stage, Kind kind) {
  return [stage, kind](Nanos longer) {
    Conditions conditions{StageCosts(2), {}};
    conditions.costs.at(stage, kind).duration = longer;
    return conditions;
  };
}

TEST(Walker, a_starved_rank_waits_for_its_receive_that_waits_for_its_send_that_waits_for_its_data) {
  // A pipeline's send waits for its data; one that holds the rank stands behind its data on the rank.
  const std::map<std::string, Wait> sending{{"gpipe", Wait::data}, {"ppll", Wait::stream}};
  for (const auto& [schedule, wait] : sending) {
    SCOPED_TRACE(schedule);
    const Timeline timeline = expect_waits(scheduled(schedule, 2, 2), slow(0, Kind::F),
                                           {{"1F1", Wait::transfer, "1RECV_F1"}, {"1RECV_F1", Wait::data, "0SEND_F1"}, {"0SEND_F1", wait, "0F1"}});
    EXPECT_GE(named(timeline, "1F1").start, named(timeline, "0F1").end);
  }
}

TEST(Walker, an_op_whose_data_was_there_waits_for_its_own_stream) {
  expect_waits(scheduled("gpipe", 2, 2), slow(1, Kind::F), {{"1F1", Wait::stream, "1F0"}, {"0F0", Wait::nothing, "nothing"}});
}

TEST(Walker, a_full_queue_holds_its_producer) {
  // Entry 1 goes into the queue when F0 of the consumer starts, entry 2 when F1 does.
  const Timeline timeline = expect_waits(scheduled("ppll", 2, 3, {{"queue", "1"}}), slow(1, Kind::F),
                                         {{"0SEND_F2", Wait::capacity, "1F1"}, {"0A2", Wait::capacity, "0SEND_F2"}});
  EXPECT_EQ(named(timeline, "0SEND_F2").end, named(timeline, "1F1").start);
}

TEST(Walker, a_rendezvous_holds_its_producer_until_the_consumer_comes) {
  const Timeline timeline = expect_waits(scheduled("ppll", 2, 2, {{"queue", "0"}}), slow(1, Kind::F),
                                         {{"0SEND_F1", Wait::capacity, "1RECV_F1"}, {"0A1", Wait::capacity, "0SEND_F1"}});
  EXPECT_GE(named(timeline, "0A1").start, named(timeline, "1U0").end);
}

TEST(Walker, transfers_take_latency_and_bytes_over_bandwidth) {
  const auto conditions = [](Nanos longer) {
    Conditions slow_link{StageCosts(2), {longer, 1e6}};
    slow_link.costs.bytes(0).output = 5000;  // 5 ms
    return slow_link;
  };
  const Timeline timeline = expect_waits(scheduled("gpipe", 2, 1), conditions, {{"1F0", Wait::transfer, "1RECV_F0"}});
  const Span& send = named(timeline, "0SEND_F0");
  EXPECT_GE(send.duration(), 10 * kMillisecond);
  EXPECT_EQ(send.duration() % (5 * kMillisecond), 0);  // exactly the latency and 5 ms
  EXPECT_EQ(send.bytes, 5000);
  EXPECT_EQ(named(timeline, "1RECV_F0").bytes, 5000);
  EXPECT_EQ(named(timeline, "1RECV_F0").start, send.start);
  EXPECT_GE(named(timeline, "1F0").start, send.end);
}

TEST(Walker, transfers_of_one_fifo_stand_behind_each_other) {
  Program program = compute_order(scheduled("gpipe", 2, 2));
  program.channels.front() = channel_mode("rank");
  const auto conditions = [](Nanos longer) { return Conditions{StageCosts(2), {longer, 0}}; };
  const Timeline timeline = expect_waits(add_send_recv(program), conditions, {{"0SEND_F1", Wait::channel_order, "0SEND_F0"}});
  EXPECT_EQ(named(timeline, "0SEND_F1").start, named(timeline, "0SEND_F0").end);
}

TEST(Walker, ranks_that_come_early_to_a_barrier_wait_for_the_last) {
  const Timeline timeline = expect_waits(scheduled("sequential-local", 2, 2, {{"variant", "overlapped"}}), slow(1, Kind::LB),
                                         {{"0SYNC0", Wait::sync, "1SYNC0"}, {"1SYNC0", Wait::stream, "1U0"}, {"0F1", Wait::sync, "0SYNC0"}});
  EXPECT_EQ(named(timeline, "0SYNC0").start, named(timeline, "1SYNC0").start);
}

}  // namespace
}  // namespace bubblescope
