// Channels driven with made-up times, one thread playing all ranks: transfers must start exactly when
// the rules say, whatever the order in which the ranks report.
#include "backend/channels.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "sim/core/costs.hpp"
#include "sim/core/psched.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/read_program.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/backend/virtual_run.hpp"
#include "tests/source_dir.hpp"

namespace bubblescope {
namespace {

std::vector<Rank> ascending(std::int32_t ranks) {
  std::vector<Rank> order;
  for (Rank r = 0; r < ranks; ++r) order.push_back(r);
  return order;
}

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

/// A rank's F, I and W cost 1 ms each, shared by its chunks.
StageCosts unit_costs(std::int32_t stages, std::int32_t chunks) {
  StageCosts costs(stages);
  for (Stage s = 0; s < stages; ++s) {
    for (const Kind kind : {Kind::F, Kind::I, Kind::W}) costs.at(s, kind).duration = kMillisecond / chunks;
    costs.at(s, Kind::B).duration = 2 * kMillisecond / chunks;
  }
  return costs;
}

/// Split among processes, whatever reaches them when, every message comes when it does in one.
void expect_same_over_processes(const Program& program, const StageCosts& costs, const Cluster& network, std::int64_t walks, const VirtualOutcome& expected) {
  for (const std::int32_t processes : {2, 4}) {
    if (program.ranks() % processes != 0) continue;
    for (const std::uint32_t seed : {0U, 1U}) {
      VirtualRun run(program, costs, network, {processes, seed});
      ASSERT_EQ(run.run(walks, ascending(program.ranks())), expected) << processes << " processes, order " << seed;
      ASSERT_TRUE(run.told_in_all() > 0 || !expected.complete);
    }
  }
}

// Source of the figures: tests/data/oracles/channel_modes.csv, an evaluator independent of this project.
TEST(Channels, pipelines_take_the_oracles_time_in_every_channel_mode) {
  const std::string folder = (source_dir() / "tests/data/oracles/").string();
  std::ifstream table(folder + "channel_modes.csv");
  ASSERT_TRUE(table);
  std::string line;
  int compared = 0;
  while (std::getline(table, line)) {
    const std::vector<std::string> row = split(line);
    if (row.size() != 9 || row[0] == "schedule" || line.front() == '#') continue;
    const std::string file = folder + "orders/" + row[0] + "_p4_m8.csv";
    const std::int32_t chunks = std::stoi(row[3]);
    const auto comm = static_cast<Nanos>(std::stod(row[4]) * 1e6);
    const std::vector<std::string> modes = channel_mode_names();
    for (std::size_t mode = 0; mode < modes.size(); ++mode) {
      Program program = read_program(file);
      program.channels.front() = channel_mode(modes[mode]);
      program = add_send_recv(program);
      const auto expected = static_cast<Nanos>(std::stod(row[5 + mode]) * 1e6 + 0.5);
      const StageCosts costs = unit_costs(program.stages(), chunks);
      const Cluster network = uniform_cluster(4, {comm, 0});
      const VirtualOutcome outcome = VirtualRun(program, costs, network).run(1, ascending(4));
      SCOPED_TRACE(row[0] + " " + modes[mode] + " comm " + row[4]);
      EXPECT_TRUE(outcome.complete);
      EXPECT_EQ(outcome.makespan, expected);
      expect_same_over_processes(program, costs, network, 1, outcome);
      ++compared;
    }
  }
  EXPECT_EQ(compared, 57 * 4);
}

/// All channels there are: every FIFO, no credit, a rendezvous and room for one or three, eager or not, posted or at
/// use, and all that a send may do.
std::vector<Channel> all_channels() {
  std::vector<Channel> all;
  for (int fifo = 0; fifo < 4; ++fifo) {
    for (const std::int32_t capacity : {kUnbounded, 0, 1, 3}) {
      for (const std::int64_t eager : {0, 600}) {
        for (int receive = 0; receive < 2; ++receive) {
          for (int send = 0; send < 3; ++send) {
            all.push_back({.fifo = static_cast<Fifo>(fifo), .capacity = capacity, .eager_bytes = eager, .receive = static_cast<Receive>(receive), .send = static_cast<Send>(send)});
          }
        }
      }
    }
  }
  return all;
}

// The state machine and the simulator's constraint graph are two forms of the same rules: they agree on who
// deadlocks, and on when every rank starts and ends.
TEST(Channels, every_combination_of_properties_takes_as_long_as_the_simulator_says) {
  int ran = 0, stuck = 0;
  std::uint32_t seed = 1;
  const auto random = [&seed](std::uint32_t below) { return static_cast<Nanos>((seed = seed * 1664525 + 1013904223) >> 8) % below; };
  for (const Channel& channel : all_channels()) {
    for (const char* name : {"gpipe", "1f1b", "interleaved-1f1b", "zbv", "chimera"}) {
      ScheduleShape shape;
      shape.ranks = 2;
      shape.microbatches = 4;
      Program program = generate(find_schedule(name), std::move(shape));
      program.channels = {channel};
      program = add_send_recv(program);
      StageCosts costs(program.stages());
      for (Stage s = 0; s < program.stages(); ++s) {
        for (const Kind kind : {Kind::F, Kind::B, Kind::I, Kind::W}) costs.at(s, kind).duration = 1 + random(1000);
        costs.bytes(s).output = 500 + 200 * random(2);
      }
      const Cluster network = uniform_cluster(2, {random(300), random(2) == 0 ? 0 : 1e9});
      const Simulation expected = simulate(program, costs, network);
      const VirtualOutcome outcome = VirtualRun(program, costs, network).run(1, ascending(2));
      SCOPED_TRACE(std::string(name) + "\n" + to_psched(program));
      expect_same_over_processes(program, costs, network, 1, outcome);
      if (HasFatalFailure()) return;
      ASSERT_EQ(outcome.complete, !expected.deadlock.has_value());
      ++(outcome.complete ? ran : stuck);
      if (!outcome.complete) continue;
      std::vector<Nanos> first(2, -1), last(2, 0);
      for (const Span& span : expected.timeline.spans) {
        if (!is_compute(span.op.kind)) continue;
        const auto rank = static_cast<std::size_t>(expected.timeline.tracks[static_cast<std::size_t>(span.track)].rank);
        first[rank] = first[rank] < 0 ? span.start : std::min(first[rank], span.start);
        last[rank] = std::max(last[rank], span.end);
      }
      ASSERT_EQ(outcome.first_start, first);
      ASSERT_EQ(outcome.last_end, last);
    }
  }
  EXPECT_EQ(ran + stuck, 4 * 4 * 2 * 2 * 3 * 5);
  EXPECT_GT(ran, 500);
  EXPECT_GT(stuck, 10);
}

Program ppll(std::int32_t ranks, std::int32_t microbatches, std::int32_t queue, bool late) {
  ScheduleShape shape;
  shape.ranks = ranks;
  shape.microbatches = microbatches;
  shape.options = {{"queue", std::to_string(queue)}, {"forward", late ? "late" : "early"}};
  return add_send_recv(generate(find_schedule("ppll"), shape));
}

/// The queue's rules, written down once more, microbatch by microbatch and rank by rank: entry t is
/// accepted when it is offered and, for Q >= 1, F(t - Q) of the consumer has started; for Q = 0, the
/// consumer has finished everything before F(t), its own send included.
struct Recurrence {
  std::vector<Nanos> first_start, last_end;
};
Recurrence ppll_recurrence(const std::vector<Nanos>& f, const std::vector<Nanos>& rest, std::int32_t m, std::int32_t queue, bool late, Nanos transfer) {
  const std::size_t p = f.size();
  std::vector<std::vector<Nanos>> start(p, std::vector<Nanos>(static_cast<std::size_t>(m), -1));
  std::vector<std::vector<Nanos>> done = start;      // everything of that microbatch, its send included
  std::vector<std::vector<Nanos>> accepted = start;  // the entry this rank sent
  Recurrence result;
  const auto value = [](const std::vector<std::vector<Nanos>>& of, std::size_t r, std::int32_t t) { return t < 0 ? 0 : of[r][static_cast<std::size_t>(t)]; };
  // Later ranks' earlier microbatches decide over earlier ranks' later ones: all of t before t + 1, and
  // within t rank by rank; what a rank's acceptance of t needs of its consumer belongs to t - Q or t - 1.
  for (std::int32_t t = 0; t < m; ++t) {
    const auto i = static_cast<std::size_t>(t);
    for (std::size_t r = 0; r < p; ++r) {
      Nanos begin = value(done, r, t - 1);
      if (r > 0) begin = std::max(begin, accepted[r - 1][i] + transfer);
      start[r][i] = begin;
      Nanos clock = begin + f[r];
      if (late) clock += rest[r];
      if (r + 1 < p) {
        Nanos at = clock;
        if (queue >= 1 && t - queue >= 0) at = std::max(at, value(start, r + 1, t - queue));
        if (queue == 0) at = std::max(at, value(done, r + 1, t - 1));
        accepted[r][i] = at;
        clock = at;
      }
      if (!late) clock += rest[r];
      done[r][i] = clock;
    }
  }
  for (std::size_t r = 0; r < p; ++r) {
    result.first_start.push_back(start[r].front());
    // A send takes no time: with late forwarding the last update ends before it.
    Nanos end = done[r].back();
    if (late) end = start[r].back() + f[r] + rest[r];
    result.last_end.push_back(end);
  }
  return result;
}

TEST(Channels, queues_follow_the_recurrence_for_any_capacity_cost_and_reporting_order) {
  EXPECT_TRUE(rc::check([] {
    const auto p = *rc::gen::inRange<std::int32_t>(1, 6);
    const auto m = *rc::gen::inRange<std::int32_t>(1, 12);
    const auto queue = *rc::gen::element<std::int32_t>(0, 1, 2, 3, 8);
    const bool late = *rc::gen::arbitrary<bool>();
    const auto transfer = *rc::gen::element<Nanos>(0, 3, 20);
    const auto count = static_cast<std::size_t>(p);
    const auto f = *rc::gen::container<std::vector<Nanos>>(count, rc::gen::inRange<Nanos>(1, 30));
    const auto rest = *rc::gen::container<std::vector<Nanos>>(count, rc::gen::inRange<Nanos>(0, 40));
    auto visit = ascending(p);
    if (*rc::gen::arbitrary<bool>()) std::reverse(visit.begin(), visit.end());

    StageCosts costs(p);
    for (Stage s = 0; s < p; ++s) {
      costs.at(s, Kind::F).duration = f[static_cast<std::size_t>(s)];
      costs.at(s, Kind::LB).duration = rest[static_cast<std::size_t>(s)];
    }
    VirtualRun run(ppll(p, m, queue, late), costs, uniform_cluster(p, {transfer, 0}));
    const VirtualOutcome outcome = run.run(1, visit);
    const Recurrence expected = ppll_recurrence(f, rest, m, queue, late, transfer);
    RC_ASSERT(outcome.complete);
    RC_ASSERT(outcome.first_start == expected.first_start);
    RC_ASSERT(outcome.last_end == expected.last_end);
    // Each rank in a process of its own.
    const auto seed = *rc::gen::inRange<std::uint32_t>(0, 1000);
    RC_ASSERT(p == 1 || VirtualRun(ppll(p, m, queue, late), costs, uniform_cluster(p, {transfer, 0}), {p, seed}).run(1, visit) == outcome);
  }));
}

// Walks follow each other without a barrier; where a stream ends in the next walk, what is late comes after the last one, and
// FIFOs let the rest pass.
TEST(Channels, walk_after_walk_messages_between_processes_come_when_they_do_in_one) {
  int late = 0, ran = 0;
  std::uint32_t seed = 7;
  const auto random = [&seed](std::uint32_t below) { return static_cast<Nanos>((seed = seed * 1664525 + 1013904223) >> 8) % below; };
  for (const Channel& channel : all_channels()) {
    for (const char* name : {"1f1b", "zbv", "pipedream"}) {
      Program program = generate(find_schedule(name), {.ranks = 4, .microbatches = 6});
      program.channels = {channel};
      program = add_send_recv(program);
      StageCosts costs(program.stages());
      for (Stage s = 0; s < program.stages(); ++s) {
        for (const Kind kind : {Kind::F, Kind::B, Kind::I, Kind::W}) costs.at(s, kind).duration = 1 + random(1000);
        costs.bytes(s).output = 500 + 200 * random(2);
      }
      const Cluster network = uniform_cluster(4, {random(300), random(2) == 0 ? 0 : 1e9});
      for (const auto& steps : make_plan(program, network).ranks) late += std::any_of(steps.begin(), steps.end(), [](const Step& step) { return step.late; });
      const VirtualOutcome expected = VirtualRun(program, costs, network).run(4, ascending(4));
      ran += expected.complete;
      SCOPED_TRACE(to_psched(program));
      expect_same_over_processes(program, costs, network, 4, expected);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(ran, 400);
  EXPECT_GT(late, 0);
}

// Equal stages, c = F + rest: early m c + (p-1) F, since a microbatch is F behind on every further rank
// and all ranks keep step; late (m + p - 1) c.
TEST(Channels, equal_ppll_stages_take_the_closed_form) {
  StageCosts costs(4);
  for (Stage s = 0; s < 4; ++s) {
    costs.at(s, Kind::F).duration = 10;
    costs.at(s, Kind::LB).duration = 25;
  }
  EXPECT_EQ(VirtualRun(ppll(4, 6, 1, false), costs, {}).run(1, ascending(4)).makespan, 6 * 35 + 3 * 10);
  EXPECT_EQ(VirtualRun(ppll(4, 6, 1, true), costs, {}).run(1, ascending(4)).makespan, (6 + 3) * 35);
  // Three walks without a barrier between are one walk with three times the microbatches.
  EXPECT_EQ(VirtualRun(ppll(4, 6, 1, false), costs, {}).run(3, ascending(4)).makespan, 18 * 35 + 3 * 10);
}

/// Rank 0 sends microbatches 0, 1, 2, ...; rank 1 uses each.
Program stream_of_messages(std::int32_t count, const Channel& channel) {
  Program program = make_program("stream", 2, count, placement_loop(2, 1));
  program.profile = Profile::forward_only;
  program.channels.front() = channel;
  for (Microbatch m = 0; m < count; ++m) {
    Op op;
    op.stage = 0;
    op.microbatch = m;
    program.rows[0].push_back(op);
    op.stage = 1;
    program.rows[1].push_back(op);
  }
  return add_send_recv(program);
}

TEST(Channels, an_unbounded_holding_send_is_accepted_at_once) {
  Channel channel;
  channel.receive = Receive::at_use;
  channel.send = Send::holding;
  StageCosts costs(2);
  costs.at(0, Kind::F).duration = 1;
  costs.at(1, Kind::F).duration = 100;
  const VirtualOutcome outcome = VirtualRun(stream_of_messages(5, channel), costs, {}).run(1, ascending(2));
  EXPECT_EQ(outcome.last_end, (std::vector<Nanos>{5, 1 + 500}));
}

TEST(Channels, small_messages_pass_a_full_queue) {
  Channel channel;
  channel.capacity = 1;
  channel.eager_bytes = 100;
  channel.receive = Receive::at_use;
  channel.send = Send::holding;
  const Plan plan = make_plan(stream_of_messages(3, channel), {});
  std::vector<Bell> bells(2);
  Channels channels(plan, bells);
  channels.offer(0, 0, {nullptr, 101}, 10, {});
  channels.offer(1, 0, {nullptr, 101}, 20, {});
  channels.offer(2, 0, {nullptr, 100}, 30, {});
  EXPECT_TRUE(channels.delivery(0, 0).accepted);
  EXPECT_FALSE(channels.delivery(1, 0).accepted);
  EXPECT_TRUE(channels.delivery(2, 0).accepted);
  channels.take(0, 0, 50, {});
  const Delivery freed = channels.delivery(1, 0);
  EXPECT_TRUE(freed.accepted);
  EXPECT_EQ(freed.start, 50);
  EXPECT_EQ(freed.wait, Wait::capacity);
}

TEST(Channels, a_committed_send_stands_behind_one_that_was_not_accepted) {
  Channel channel;
  channel.capacity = 1;
  channel.receive = Receive::at_use;
  channel.send = Send::commit;
  const Plan plan = make_plan(stream_of_messages(4, channel), {});
  std::vector<Bell> bells(2);
  Channels channels(plan, bells);
  for (std::int32_t m = 0; m < 3; ++m) channels.offer(m, 0, {}, 10 * m, {});
  channels.take(0, 0, 100, {});
  EXPECT_EQ(channels.delivery(1, 0).start, 100);
  EXPECT_FALSE(channels.delivery(2, 0).accepted);
  channels.take(1, 0, 200, {});
  EXPECT_EQ(channels.delivery(2, 0).start, 200);
}

TEST(Channels, a_committed_send_waits_for_acceptance_and_not_for_the_wire) {
  Channel channel;
  channel.send = Send::commit;
  const Plan plan = make_plan(stream_of_messages(2, channel), uniform_cluster(2, {500, 0}));
  std::vector<Bell> bells(2);
  Channels channels(plan, bells);
  channels.offer(0, 0, {}, 10, {});
  channels.offer(1, 0, {}, 20, {});
  EXPECT_EQ(channels.delivery(1, 0).start, 20);
  EXPECT_EQ(channels.delivery(1, 0).available, 520);
}

/// One side of the channels, and what it tells the other one.
struct OneSide final : RemoteSides {
  OneSide(const Plan& plan, Rank rank) : own(rank), bells(2), channels(plan, bells, this) {}
  bool here(Rank rank) const override { return rank == own; }
  void accepted(std::int32_t message, std::int64_t, const Payload&, const Delivery&) override { went.push_back(message); }
  void granted(std::int32_t, std::int64_t, const Turn&) override { ++grants; }
  void credited(std::int32_t message, std::int64_t walk, const Turn& credit) override { credits.push_back({message, walk, credit.since}); }

  struct Credit {
    std::int32_t message;
    std::int64_t walk;
    Nanos since;
  };
  Rank own;
  std::vector<Bell> bells;
  std::vector<std::int32_t> went;
  int grants = 0;
  std::vector<Credit> credits;
  Channels channels;
};

// With an entry for each message that there is room for it would take 390 GB.
TEST(Channels, room_between_processes_for_more_than_there_is_memory_takes_none) {
  Channel channel;
  channel.capacity = std::numeric_limits<std::int32_t>::max();
  channel.receive = Receive::at_use;
  const Plan plan = make_plan(stream_of_messages(3, channel), {});
  OneSide sender(plan, 0), receiver(plan, 1);
  sender.channels.begin();
  receiver.channels.begin();
  for (std::int32_t m = 0; m < 3; ++m) {
    sender.channels.offer(m, 0, {nullptr, 8}, 10 * m, {});
    ASSERT_EQ(sender.went.size(), static_cast<std::size_t>(m + 1));
    receiver.channels.accepted(m, 0, {nullptr, 8}, sender.channels.delivery(m, 0), 100);
    receiver.channels.arrive(m, 0, 200, {});
    receiver.channels.take(m, 0, 200, {});
    ASSERT_EQ(receiver.credits.size(), static_cast<std::size_t>(m + 1));
    const OneSide::Credit& credit = receiver.credits.back();
    EXPECT_EQ(credit.walk * 3 + credit.message, m + std::int64_t{channel.capacity});
    sender.channels.credited(credit.message, credit.walk, {credit.since, {}});
  }
}

TEST(Channels, credit_from_another_process_counts_whether_it_comes_before_the_message_or_after) {
  Channel channel;
  channel.capacity = 1;
  channel.receive = Receive::at_use;
  const Plan plan = make_plan(stream_of_messages(3, channel), {});
  OneSide sender(plan, 0);
  sender.channels.begin();
  sender.channels.offer(0, 0, {nullptr, 8}, 10, {});
  sender.channels.credited(1, 0, {50, {}});
  sender.channels.offer(1, 0, {nullptr, 8}, 20, {});
  EXPECT_EQ(sender.channels.delivery(1, 0).start, 50);
  sender.channels.offer(2, 0, {nullptr, 8}, 60, {});
  EXPECT_FALSE(sender.channels.delivery(2, 0).accepted);
  sender.channels.credited(2, 0, {90, {}});
  EXPECT_EQ(sender.channels.delivery(2, 0).start, 90);
  EXPECT_EQ(sender.went, (std::vector<std::int32_t>{0, 1, 2}));
}

TEST(Channels, only_who_sends_by_rendezvous_is_told_that_it_is_the_receivers_turn) {
  for (const std::int32_t capacity : {kUnbounded, 0, 1}) {
    Channel channel;
    channel.capacity = capacity;
    channel.receive = Receive::at_use;
    const Plan plan = make_plan(stream_of_messages(3, channel), {});
    OneSide receiver(plan, 1);
    receiver.channels.begin();
    receiver.channels.arrive(0, 0, 10, {});
    EXPECT_EQ(receiver.grants, capacity == 0 ? 1 : 0) << "capacity " << capacity;
  }
}

TEST(Channels, payloads_arrive_by_identity_over_many_walks) {
  Channel channel;  // a sender may run far ahead
  const Plan plan = make_plan(stream_of_messages(3, channel), {});
  std::vector<Bell> bells(2);
  Channels channels(plan, bells);
  for (std::int64_t walk = 0; walk < 40; ++walk) {
    for (std::int32_t m = 0; m < 3; ++m) channels.offer(m, walk, {std::make_shared<std::int64_t>(walk * 3 + m), 8}, walk, {});
  }
  for (std::int64_t walk = 0; walk < 40; ++walk) {
    for (const std::int32_t m : {2, 0, 1}) {
      EXPECT_EQ(*std::static_pointer_cast<std::int64_t>(channels.take(m, walk, walk, {}).data), walk * 3 + m);
    }
  }
  EXPECT_FALSE(channels.delivery(0, 40).accepted);
  EXPECT_TRUE(channels.delivery(0, 39).accepted);
}

}  // namespace
}  // namespace bubblescope
