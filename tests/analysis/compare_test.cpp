// Two Timelines side by side.
#include "analysis/compare.hpp"

#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

TEST(Compare, finds_no_difference_between_a_timeline_and_itself) {
  const Timeline timeline = pipeline(3, 4, true, 10, 20);
  const Comparison result = compare(timeline, timeline);
  EXPECT_EQ(result.matched.size(), timeline.spans.size());
  EXPECT_EQ(result.only_in_a + result.only_in_b, 0);
  EXPECT_EQ(result.ops.max, 0);
  EXPECT_EQ(result.makespan_error, 0);
  EXPECT_EQ(result.idle_points, 0);
  EXPECT_FALSE(result.divergence);
}

// Predicted F = 90, B = 200; measured F = 100, B = 200 (one rank, two microbatches).
// F is 10 % short, B right: absolute errors .1 .1 0 0: median .05, p90 and max .1;
// bias (580 - 600) / 600. Makespan and period: 580 against 600.
TEST(Compare, gives_errors_relative_to_the_second) {
  Timeline a = pipeline(1, 2, false, 90, 200), b = pipeline(1, 2, false, 100, 200);
  b.label = "measured";
  const Comparison result = compare(a, b);
  EXPECT_EQ(result.ops.count, 4);
  EXPECT_DOUBLE_EQ(result.ops.median, 0.05);
  EXPECT_DOUBLE_EQ(result.ops.p90, 0.1);
  EXPECT_DOUBLE_EQ(result.ops.max, 0.1);
  EXPECT_DOUBLE_EQ(result.ops.bias, -20.0 / 600);
  ASSERT_EQ(result.kinds.size(), 2u);
  EXPECT_EQ(result.kinds[0].kind, Kind::F);
  EXPECT_DOUBLE_EQ(result.kinds[0].duration.bias, -0.1);
  EXPECT_DOUBLE_EQ(result.kinds[1].duration.bias, 0);
  ASSERT_EQ(result.ranks.size(), 1u);
  EXPECT_EQ(result.ranks[0].count, 4);
  EXPECT_DOUBLE_EQ(result.makespan_error, -20.0 / 600);
  EXPECT_DOUBLE_EQ(result.period_error, -20.0 / 600);
}

// a: 0F0 0-5, 0F1 5-10: never idle. b: 0F1 10-15: a third of 15 is idle.
TEST(Compare, gives_idle_time_in_points) {
  TimelineBuilder a(1, 1, 2), b(1, 1, 2);
  a.add(0, "0F0", 0, 5);
  a.add(0, "0F1", 5, 10, Wait::stream, 0);
  b.add(0, "0F0", 0, 5);
  b.add(0, "0F1", 10, 15, Wait::host, 0);
  const Comparison result = compare(a.timeline(), b.timeline());
  EXPECT_NEAR(result.idle_points, -100.0 / 3, 1e-9);
  ASSERT_EQ(result.rank_idle_points.size(), 1u);
  EXPECT_NEAR(result.rank_idle_points[0], -100.0 / 3, 1e-9);
}

TEST(Compare, counts_and_names_ops_that_only_one_has) {
  TimelineBuilder a(1, 1, 2), b(1, 1, 2);
  a.add(0, "0F0", 0, 5);
  a.add(0, "0F1", 5, 10);
  b.add(0, "0F0", 0, 5);
  b.add(0, "0B0", 5, 9);
  b.add(0, "0B1", 9, 10);
  b.timeline().label = "measured";
  const Comparison result = compare(a.timeline(), b.timeline());
  EXPECT_EQ(result.matched.size(), 1u);
  EXPECT_EQ(result.only_in_a, 1);
  EXPECT_EQ(result.only_in_b, 2);
  ASSERT_EQ(result.unmatched.size(), 3u);
  EXPECT_EQ(result.unmatched[0], "only in predicted: 0F1 (rank 0, iteration 0)");
  EXPECT_EQ(result.unmatched[1], "only in measured: 0B0 (rank 0, iteration 0)");
}

TEST(Compare, counts_iterations_from_the_first_that_each_has) {
  TimelineBuilder a(1, 1, 1), b(1, 1, 1);
  a.add(0, "0F0", 0, 5, Wait::nothing, -1, 0);
  b.add(0, "0F0", 0, 5, Wait::nothing, -1, 3);
  EXPECT_EQ(compare(a.timeline(), b.timeline()).matched.size(), 1u);
}

TEST(Compare, matches_barriers_per_rank_and_in_order_and_compounds_by_their_cell) {
  TimelineBuilder a(2, 2, 1), b(2, 2, 1);
  for (TimelineBuilder* t : {&a, &b}) {
    for (const Nanos start : {0, 10}) {
      for (const Rank k : {0, 1}) {
        const Rank rank = t == &a ? k : 1 - k;  // one records its ranks the other way round
        const auto i = t->add(rank, "0SYNC", start, start + 1 + rank);
        t->timeline().spans[i].op.stage = -1;
      }
    }
  }
  a.add(0, "(0F1;1B0)OVERLAP_F_B", 20, 21);
  a.add(0, "(0F2;1B1)OVERLAP_F_B", 21, 22);
  b.add(0, "(0F2;1B1)OVERLAP_F_B", 20, 21);
  b.add(0, "(0F1;1B0)OVERLAP_F_B", 21, 22);
  const Comparison result = compare(a.timeline(), b.timeline());
  ASSERT_EQ(result.matched.size(), 6u);
  for (const MatchedOp& op : result.matched) {
    const Span &x = a.timeline().spans[op.a], &y = b.timeline().spans[op.b];
    EXPECT_EQ(a.timeline().span_name(x), b.timeline().span_name(y));
    if (x.op.kind == Kind::SYNC) {
      EXPECT_EQ(x.track, y.track);
      EXPECT_EQ(x.start, y.start);
    }
  }
}

// 0F1 takes 30 instead of 10 in b; the first op that starts at another time is 1F1, which waits for it.
TEST(Compare, first_divergence_names_the_predecessor_that_took_longer) {
  TimelineBuilder a(2, 2, 2), b(2, 2, 2);
  b.timeline().label = "measured";
  for (TimelineBuilder* t : {&a, &b}) {
    const auto f0 = t->as_early(0, "0F0", 10);
    const auto f1 = t->as_early(0, "0F1", t == &a ? 10 : 30);
    t->as_early(1, "1F0", 10, f0);
    t->as_early(1, "1F1", 10, f1);
    t->as_early(0, "0B0", 10);
  }
  const Comparison result = compare(a.timeline(), b.timeline());
  ASSERT_TRUE(result.divergence);
  EXPECT_EQ(a.timeline().span_name(a.timeline().spans[result.divergence->op.a]), "1F1");
  EXPECT_EQ(result.divergence->difference, -20);
  // In a, 1F1 follows 1F0 on its stream (both end at 20); in b it waits for 0F1.
  EXPECT_EQ(result.divergence->reason, Divergence::waits_for_another);
}

TEST(Compare, first_divergence_tells_duration_delay_and_start_apart) {
  const auto two = [](Nanos first, Nanos duration, Nanos delay) {
    TimelineBuilder t(1, 1, 2);
    const auto f = t.add(0, "0F0", first, first + duration);
    t.add(0, "0F1", first + duration + delay, first + duration + delay + 100, Wait::stream, f);
    return t.timeline();
  };
  const Timeline base = two(0, 100, 0);
  EXPECT_EQ(compare(base, two(0, 150, 0)).divergence->reason, Divergence::predecessor_longer);
  EXPECT_EQ(compare(base, two(0, 100, 50)).divergence->reason, Divergence::delay_after);
  EXPECT_EQ(compare(base, two(50, 100, 0)).divergence->reason, Divergence::own_start);
  EXPECT_FALSE(compare(base, two(1, 100, 0)).divergence);  // within 1 % of 201
}

}  // namespace
}  // namespace bubblescope
