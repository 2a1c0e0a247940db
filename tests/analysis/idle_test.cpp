// Idle time by cause: each rule on a small Timeline by hand, and the sum on random ones.
#include "analysis/idle.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <random>

#include <rapidcheck.h>

#include "analysis/bubbles.hpp"
#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

using Causes = std::map<std::string, Nanos>;

Causes causes(const IdleSplit& split, Rank rank) {
  Causes result;
  for (int c = 0; c < kIdleCauses; ++c) {
    if (split.ranks[rank][c] != 0) result[std::string(idle_cause_name(static_cast<IdleCause>(c)))] = split.ranks[rank][c];
  }
  return result;
}

// 2 ranks, F = 1, B = 2, m = 2, GPipe without latency:
//   rank 0: F0 0-1, F1 1-2,            B0 5-7, B1 7-9
//   rank 1:         F0 1-2, F1 2-3, B0 3-5, B1 5-7
// Rank 0 waits from 2 to 5 while rank 1 computes F1 and B0; rank 1 fills for 1 and drains for 2.
TEST(Idle, of_gpipe_is_fill_drain_and_starvation) {
  const Timeline timeline = pipeline(2, 2, false, 1, 2);
  const IdleSplit split = split_idle(timeline);
  EXPECT_EQ(causes(split, 0), (Causes{{"starved", 3}}));
  EXPECT_EQ(causes(split, 1), (Causes{{"fill", 1}, {"drain", 2}}));
  EXPECT_EQ(split.pieces.size(), 3u);
  EXPECT_EQ(split.pieces[0], (IdlePiece{0, 2, 5, IdleCause::starved}));
}

// The producer 0F1 computes from 4 to 10, its entry is on the wire from 10 to 13. Rank 1 stands from
// 6 to 13: 4 starved, 3 communication.
TEST(Idle, gap_is_split_between_the_producer_and_the_wire) {
  TimelineBuilder builder(2, 2, 2);
  const auto f0 = builder.add(0, "0F0", 0, 4);
  const auto f1 = builder.add(0, "0F1", 4, 10, Wait::stream, f0);
  const auto used = builder.add(1, "1F0", 4, 6, Wait::data, f0);
  const auto send = builder.add(0, "0SEND_F1", 10, 10, Wait::data, f1);
  const auto recv = builder.add(1, "1RECV_F1", 10, 13, Wait::transfer, send);
  builder.add(1, "1F1", 13, 14, Wait::transfer, recv);
  (void)used;
  const IdleSplit split = split_idle(builder.timeline());
  EXPECT_EQ(causes(split, 1), (Causes{{"fill", 4}, {"starved", 4}, {"communication", 3}}));
}

// As before, but the receive was posted at 6 and its span covers all of the waiting, as an executor
// records it. The split must be the same.
TEST(Idle, receive_posted_early_counts_as_communication_only_from_the_send_on) {
  TimelineBuilder builder(2, 2, 2);
  const auto f0 = builder.add(0, "0F0", 0, 4);
  const auto f1 = builder.add(0, "0F1", 4, 10, Wait::stream, f0);
  builder.add(1, "1F0", 4, 6, Wait::data, f0);
  const auto send = builder.add(0, "0SEND_F1", 10, 10, Wait::data, f1);
  const auto recv = builder.add(1, "1RECV_F1", 6, 13, Wait::transfer, send);
  builder.add(1, "1F1", 13, 14, Wait::transfer, recv);
  EXPECT_EQ(causes(split_idle(builder.timeline()), 1), (Causes{{"fill", 4}, {"starved", 4}, {"communication", 3}}));
}

// Latency without communication ops: the wait is `transfer` for the producer itself.
TEST(Idle, latency_after_the_producer_is_communication) {
  const Timeline timeline = pipeline(2, 1, false, 3, 5, 2);
  // rank 0: F 0-3, B 15-20; rank 1: F 5-8, B 8-13. Gap 3-15: wire 2, F 3, B 5, wire 2.
  EXPECT_EQ(causes(split_idle(timeline), 0), (Causes{{"starved", 8}, {"communication", 4}}));
}

// A queue of capacity 1: 0SEND_F1 is offered at 4, accepted when rank 1 starts 1F0 at 9. Rank 0's next
// op waits for the send.
TEST(Idle, full_queue_is_blocked) {
  TimelineBuilder builder(2, 2, 3);
  const auto f0 = builder.add(0, "0F0", 0, 2);
  const auto f1 = builder.add(0, "0F1", 2, 4, Wait::stream, f0);
  const auto other = builder.add(1, "1U0", 0, 9);
  const auto taken = builder.add(1, "1F0", 9, 12, Wait::stream, other);
  const auto send = builder.add(0, "0SEND_F1", 4, 9, Wait::capacity, taken);
  builder.add(0, "0F2", 9, 11, Wait::capacity, send);
  (void)f1;
  EXPECT_EQ(causes(split_idle(builder.timeline()), 0), (Causes{{"blocked", 5}, {"drain", 1}}));
}

// Rank 2 waits from 5 on for 1F1 (12-13), which waited for its transfer (9-12), whose entry was held
// from 4 to 9 because the queue was full until 1F0 started.
TEST(Idle, entry_that_a_full_queue_holds_is_blocked_for_all_who_wait_for_it) {
  TimelineBuilder builder(3, 3, 2);
  builder.add(0, "0F1", 0, 2);
  builder.add(0, "0LB1", 2, 4);
  const auto update = builder.add(1, "1U0", 0, 9);
  const auto taken = builder.add(1, "1F0", 9, 10, Wait::stream, update);
  builder.add(2, "2LB0", 0, 5);
  const auto send = builder.add(0, "0SEND_F1", 4, 9, Wait::capacity, taken);
  const auto recv = builder.add(1, "1RECV_F1", 9, 12, Wait::transfer, send);
  const auto forward = builder.add(1, "1F1", 12, 13, Wait::transfer, recv);
  builder.add(2, "2F1", 13, 14, Wait::data, forward);
  EXPECT_EQ(causes(split_idle(builder.timeline()), 2), (Causes{{"starved", 1}, {"communication", 3}, {"blocked", 4}}));
}

// The entry is copied out from 4 to 6, offered then, and accepted at 9 when the consumer of an earlier
// one starts: 2 communication, 3 blocked. Likewise where it is accepted at once.
TEST(Idle, copying_an_entry_out_before_it_is_offered_is_communication) {
  TimelineBuilder builder(2, 2, 4);
  const auto f0 = builder.add(0, "0F0", 0, 4);
  const auto update = builder.add(1, "1U0", 0, 9);
  const auto taken = builder.add(1, "1F0", 9, 10, Wait::stream, update);
  const auto send = builder.add(0, "0SEND_F1", 6, 9, Wait::capacity, taken);
  const auto f2 = builder.add(0, "0F2", 9, 12, Wait::capacity, send);
  const auto free = builder.add(0, "0SEND_F2", 15, 15, Wait::transfer, f2);
  builder.add(0, "0F3", 15, 16, Wait::capacity, free);
  (void)f0;
  EXPECT_EQ(causes(split_idle(builder.timeline()), 0), (Causes{{"communication", 2 + 3}, {"blocked", 3}}));
}

// A full queue, recorded without the send: the op names the consumer that freed the place.
TEST(Idle, full_queue_is_blocked_where_the_consumer_is_named_directly) {
  TimelineBuilder builder(2, 2, 3);
  const auto f0 = builder.add(0, "0F0", 0, 4);
  const auto other = builder.add(1, "1U0", 0, 9);
  const auto taken = builder.add(1, "1F0", 9, 12, Wait::stream, other);
  builder.add(0, "0F2", 9, 12, Wait::capacity, taken);
  (void)f0;
  EXPECT_EQ(causes(split_idle(builder.timeline()), 0), (Causes{{"blocked", 5}}));
}

// Rank 2 waits from 2 on for 1F1, made until 5; its transfer (8 to 10) stood behind another one of
// rank 1 until 8: 3 starved, 3 blocked, 2 communication.
TEST(Idle, transfer_behind_another_one_is_blocked_since_its_data_was_made) {
  TimelineBuilder builder(3, 3, 2);
  const auto first = builder.add(2, "2F0", 0, 2);
  const auto made = builder.add(1, "1F1", 0, 5);
  const auto before = builder.add(1, "1SEND_B0", 2, 8);
  const auto send = builder.add(1, "1SEND_F1", 8, 10, Wait::channel_order, before);
  const auto recv = builder.add(2, "2RECV_F1", 8, 10, Wait::data, send);
  builder.add(2, "2F1", 10, 11, Wait::transfer, recv);
  (void)first;
  (void)made;
  EXPECT_EQ(causes(split_idle(builder.timeline()), 2), (Causes{{"starved", 3}, {"blocked", 3}, {"communication", 2}}));
}

// Rendezvous: 0F1 is made at 3, the partner takes the transfer at 7 only; wire 7 to 9. Who waits for
// it on rank 1 has been elsewhere until 5: 2 blocked, 2 communication.
TEST(Idle, rendezvous_without_its_partner_is_blocked) {
  TimelineBuilder builder(2, 2, 2);
  builder.add(0, "0F1", 0, 3);
  builder.add(1, "1F0", 0, 5);
  const auto send = builder.add(0, "0SEND_F1", 7, 9, Wait::capacity);
  const auto recv = builder.add(1, "1RECV_F1", 7, 9, Wait::data, send);
  builder.timeline().spans[send].waited_for = recv;
  builder.timeline().spans[recv].waited_for = -1;
  builder.timeline().spans[recv].wait = Wait::channel_order;
  builder.add(1, "1F1", 9, 10, Wait::transfer, recv);
  EXPECT_EQ(causes(split_idle(builder.timeline()), 1), (Causes{{"blocked", 2}, {"communication", 2}}));
}

// Barrier: rank 0 arrives at 4, rank 1 computes until 10 with a pause from 6 to 7; the barrier costs 1.
// Rank 0 stands from 4 to 11: 4-6 and 7-10 imbalance, 6-7 the pause's own cause, 10-11
// synchronisation. Rank 1 only has the barrier's cost, and its own pause.
TEST(Idle, before_a_barrier_is_imbalance_while_the_slowest_computes) {
  for (const bool arrival : {true, false}) {  // the barrier's span starts at arrival, or when all are there
    TimelineBuilder builder(2, 2, 1);
    const auto fast = builder.add(0, "0LB0", 0, 4);
    const auto slow = builder.add(1, "1F0", 0, 6);
    const auto last = builder.add(1, "1LB0", 7, 10, Wait::host, slow);
    const auto s0 = builder.add(0, "0SYNC", arrival ? 4 : 10, 11, Wait::sync, -1);
    const auto s1 = builder.add(1, "1SYNC", 10, 11, Wait::stream, last);
    for (const auto s : {s0, s1}) builder.timeline().spans[s].op.stage = -1;
    builder.timeline().spans[s0].waited_for = s1;
    builder.add(0, "0F0", 11, 12, Wait::sync, s0, 1);
    builder.add(1, "1F0", 11, 12, Wait::sync, s1, 1);
    (void)fast;
    const IdleSplit split = split_idle(builder.timeline());
    EXPECT_EQ(causes(split, 0), (Causes{{"imbalance", 5}, {"host_launch", 1}, {"synchronisation", 1}})) << arrival;
    EXPECT_EQ(causes(split, 1), (Causes{{"host_launch", 1}, {"synchronisation", 1}})) << arrival;
  }
}

// Ranks that take turns and meet at a barrier: rank 1 comes last, having waited for rank 0 (0-4) and
// the wire (4-5) before its own work (5-9). Rank 2 has nothing to do from 1 on.
TEST(Idle, before_a_barrier_follows_what_the_last_rank_had_to_wait_for) {
  TimelineBuilder builder(3, 3, 1);
  const auto first = builder.add(0, "0F0", 0, 4);
  builder.add(1, "1F1", 0, 1);
  const auto last = builder.add(1, "1F0", 5, 9, Wait::transfer, first);
  builder.add(2, "2F1", 0, 1);
  const auto s2 = builder.add(2, "2SYNC", 9, 9, Wait::sync);
  const auto s1 = builder.add(1, "1SYNC", 9, 9, Wait::stream, last);
  const auto s0 = builder.add(0, "0SYNC", 9, 9, Wait::sync, s1);
  for (const auto s : {s0, s1, s2}) builder.timeline().spans[s].op.stage = -1;
  builder.timeline().spans[s2].waited_for = s1;
  builder.add(2, "2F0", 9, 10, Wait::sync, s2, 1);
  EXPECT_EQ(causes(split_idle(builder.timeline()), 2), (Causes{{"imbalance", 7}, {"communication", 1}}));
}

TEST(Idle, late_issue_and_unexplained_pauses_are_host_launch) {
  TimelineBuilder builder(1, 1, 3);
  const auto f0 = builder.add(0, "0F0", 0, 2);
  const auto f1 = builder.add(0, "0F1", 3, 5, Wait::host, f0);
  builder.add(0, "0F2", 7, 8, Wait::stream, f1);
  EXPECT_EQ(causes(split_idle(builder.timeline()), 0), (Causes{{"host_launch", 3}}));
}

TEST(Idle, input_pipeline_has_its_own_cause) {
  TimelineBuilder builder(1, 1, 2);
  builder.add(0, "0F0", 0, 2);
  builder.add(0, "0F1", 6, 8, Wait::input);
  EXPECT_EQ(causes(split_idle(builder.timeline()), 0), (Causes{{"input_pipeline", 4}}));
}

// The producer itself stood still for the wire: that time is communication for who waits behind it.
//   rank 0: F1 0-3; wire 3-5; rank 1: F0 0-1, F1 5-7; rank 2: F0 0-1, F1 7-8.
TEST(Idle, causes_are_followed_through_producers_that_waited_themselves) {
  TimelineBuilder builder(3, 3, 2);
  const auto f = builder.add(0, "0F1", 0, 3);
  builder.add(1, "1F0", 0, 1);
  builder.add(2, "2F0", 0, 1);
  const auto g = builder.add(1, "1F1", 5, 7, Wait::transfer, f);
  builder.add(2, "2F1", 7, 8, Wait::data, g);
  EXPECT_EQ(causes(split_idle(builder.timeline()), 2), (Causes{{"starved", 4}, {"communication", 2}}));
}

TEST(Idle, rank_without_work_fills_all_along) {
  TimelineBuilder builder(2, 2, 1);
  builder.add(0, "0F0", 0, 5);
  EXPECT_EQ(causes(split_idle(builder.timeline()), 1), (Causes{{"fill", 5}}));
}

TEST(Idle, circular_waits_of_a_foreign_trace_end) {
  TimelineBuilder builder(2, 2, 2);
  builder.add(0, "0F0", 0, 1);
  const auto a = builder.add(0, "0SEND_F0", 5, 5, Wait::data);
  const auto b = builder.add(1, "1RECV_F0", 5, 5, Wait::data, a);
  builder.timeline().spans[a].waited_for = b;
  builder.add(0, "0F1", 5, 6, Wait::data, a);
  const IdleSplit split = split_idle(builder.timeline());
  EXPECT_EQ(std::accumulate(split.ranks[0].begin(), split.ranks[0].end(), Nanos{0}), 4);
}

// Any Timeline at all, sensible or not: the causes sum to makespan minus busy, the pieces are the same
// numbers, in order and without overlap.
TEST(Idle, sums_to_makespan_minus_busy_for_any_timeline) {
  const bool ok = rc::check([] {
    std::mt19937 random(*rc::gen::arbitrary<unsigned>());
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    const int ranks = 1 + below(4);
    TimelineBuilder builder(ranks, ranks, 8);
    static constexpr const char* kKinds[] = {"F", "B", "LB", "U", "SEND_F", "RECV_F", "SEND_B", "RECV_B", "SYNC"};
    std::vector<Nanos> now(ranks, 0);
    const int count = below(40);
    for (int i = 0; i < count; ++i) {
      const Rank rank = below(ranks);
      const Nanos start = std::max<Nanos>(0, now[rank] + below(12) - below(3));
      const Nanos end = start + below(10);
      now[rank] = std::max(now[rank], end);
      builder.add(rank, std::to_string(rank) + kKinds[below(9)] + std::to_string(below(8)), start, end,
                  static_cast<Wait>(below(9)), below(3) ? below(count) : -1, below(2));
    }
    const Timeline& timeline = builder.timeline();
    const IdleSplit split = split_idle(timeline);
    const Bubbles b = bubbles(timeline);
    std::vector<Nanos> by_pieces(ranks, 0), reached(ranks, 0);
    for (const IdlePiece& piece : split.pieces) {
      RC_ASSERT(piece.start >= reached[piece.rank]);
      RC_ASSERT(piece.end > piece.start);
      reached[piece.rank] = piece.end;
      by_pieces[piece.rank] += piece.end - piece.start;
    }
    for (Rank rank = 0; rank < ranks; ++rank) {
      for (const Nanos cause : split.ranks[rank]) RC_ASSERT(cause >= 0);
      const Nanos sum = std::accumulate(split.ranks[rank].begin(), split.ranks[rank].end(), Nanos{0});
      RC_ASSERT(sum == b.makespan - b.ranks[rank].busy);
      RC_ASSERT(by_pieces[rank] == sum);
    }
  });
  EXPECT_TRUE(ok);
}

}  // namespace
}  // namespace bubblescope
