// Chimera beyond p microbatches: orders, closed forms and memory of the three concatenations.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cstdlib>

#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "tests/sim/schedules/searched.hpp"

namespace bubblescope {
namespace {

const std::map<std::string, std::string> kDirect{{"concatenation", "direct"}};
const std::map<std::string, std::string> kDoubling{{"concatenation", "forward-doubling"}};
const std::map<std::string, std::string> kHalving{{"concatenation", "backward-halving"}};

Program chimera(std::int32_t ranks, std::int32_t microbatches, const std::map<std::string, std::string>& options) {
  return generate(find_schedule("chimera"), {.ranks = ranks, .microbatches = microbatches, .options = options});
}

Outcome outcome(std::int32_t ranks, std::int32_t microbatches, const std::string& cost, const std::map<std::string, std::string>& options) {
  const ScheduleShape shape = searched_shape(ranks, microbatches, cost, "0", options);
  return outcome_of(generate(find_schedule("chimera"), shape), shape);
}

std::string milliseconds(Nanos f, Nanos b) { return "F=" + std::to_string(f) + ",B=" + std::to_string(b); }

TEST(Chimera, forward_doubling_runs_forwards_in_pairs_of_one_direction) {
  EXPECT_EQ(rows_of(chimera(2, 4, kDoubling)), (std::vector<std::string>{"0F0,0F1,3F2,3F3,3B2,0B0,3B3,0B1,0U,3U", "2F2,2F3,1F0,1F1,1B0,2B2,1B1,2B3,1U,2U"}));
}

TEST(Chimera, units_of_pairs_leave_no_bubble_between_them_from_equal_backwards_to_twice_as_long_ones) {
  // The middle ranks wait for p/2-1 forwards before their first op and for p/2-1 backwards after their last,
  // and work without a gap between: m (F + B) + (p/2-1)(F + B), whatever the number of units.
  for (const int p : {2, 4, 6, 8}) {
    for (const int units : {1, 2, 3, 5}) {
      for (const auto& [f, b] : {std::pair<Nanos, Nanos>{1, 1}, {2, 3}, {1, 2}}) {
        const int m = 2 * p * units;
        for (const auto& options : {kDoubling, kHalving}) {
          EXPECT_EQ(outcome(p, m, milliseconds(f, b), options).makespan, (m + p / 2 - 1) * (f + b) * kMillisecond) << "p=" << p << " m=" << m << " B/F=" << b << '/' << f;
        }
      }
    }
  }
}

TEST(Chimera, pairs_are_never_slower_than_the_slots_of_the_paper) {
  // Drawn with a pair as one forward: 3pk + p-2 slots of B = 2F.
  for (const int p : {2, 4, 8, 16}) {
    for (const int units : {1, 4}) EXPECT_LE(outcome(p, 2 * p * units, "F=1,B=2", kDoubling).makespan, 2 * (3 * p * units + p - 2) * kMillisecond) << p;
  }
}

TEST(Chimera, direct_concatenation_has_bubbles_between_units_where_backwards_are_longer_and_pairs_have_not) {
  // Direct and F = B: m (F + B) + (p/2-1)(F + B), too. With B = 2F each further unit adds to its idle time.
  for (const int p : {4, 8}) {
    const auto idle = [&](int units, const char* cost, const auto& options) {
      const int m = 2 * p * units;
      return outcome(p, m, cost, options).makespan - m * (std::string(cost) == "F=1,B=1" ? 2 : 3) * kMillisecond;
    };
    EXPECT_EQ(idle(1, "F=1,B=1", kDirect), (p - 2) * kMillisecond);
    EXPECT_EQ(idle(3, "F=1,B=1", kDirect), (p - 2) * kMillisecond);
    EXPECT_GT(idle(2, "F=1,B=2", kDirect), idle(1, "F=1,B=2", kDirect));
    EXPECT_EQ(idle(2, "F=1,B=2", kDoubling), idle(1, "F=1,B=2", kDoubling));
    EXPECT_LT(idle(2, "F=1,B=2", kDoubling), idle(2, "F=1,B=2", kDirect));
  }
}

TEST(Chimera, one_unit_of_the_paper_with_backwards_twice_as_long_takes_its_closed_form) {
  // The performance model of Li and Hoefler: with m = p the critical path has p forwards and 2p-2 backwards.
  for (const int p : {2, 4, 6, 8}) EXPECT_EQ(outcome(p, p, "F=1,B=2", kDirect).makespan, (p + 2 * (2 * p - 2)) * kMillisecond) << p;
}

TEST(Chimera, doubling_holds_p_microbatches_more_than_direct_concatenation) {
  // With h for the distance to the nearer end, direct p/2+1+h (of p). Pairs: p + p/2+1+h.
  for (const int p : {2, 4, 6, 8}) {
    const std::vector<std::int32_t> direct = outcome(p, 4 * p, "F=1,B=2", kDirect).peaks;
    const std::vector<std::int32_t> doubled = outcome(p, 4 * p, "F=1,B=2", kDoubling).peaks;
    for (int r = 0; r < p; ++r) {
      const int h = std::min(r, p - 1 - r);
      EXPECT_EQ(direct[static_cast<std::size_t>(r)], p / 2 + 1 + h) << "p=" << p << " rank " << r;
      EXPECT_EQ(doubled[static_cast<std::size_t>(r)], p + p / 2 + 1 + h) << "p=" << p << " rank " << r;
    }
  }
}

TEST(Chimera, at_most_p_microbatches_that_are_left_are_a_direct_unit) {
  // p = 2, m = 6: a unit of 4 in pairs, then 4 down and 5 up.
  const std::vector<std::string> rows = rows_of(chimera(2, 6, kDoubling));
  EXPECT_THAT(rows[0], testing::HasSubstr("3B2,0B0,3B3,0B1,0F4,3F5,3B5,0B4"));
  EXPECT_EQ(rows_of(chimera(4, 4, kDoubling)), rows_of(chimera(4, 4, kDirect)));
  // Then nothing is lost to that of p microbatches: the same bubble as without them.
  for (const int p : {2, 4, 8}) {
    EXPECT_EQ(outcome(p, 3 * p, "F=1,B=1", kDoubling).makespan, (2 * 3 * p + p - 2) * kMillisecond) << p;
  }
}

TEST(Chimera, halves_of_a_microbatch_always_go_the_same_way_one_after_the_other) {
  EXPECT_TRUE(rc::check([] {
    const int p = 2 * *rc::gen::inRange(1, 6), m = 2 * *rc::gen::inRange(1, 40);
    for (const auto& row : chimera(p, m, kHalving).rows) {
      for (std::size_t i = 0; i + 1 < row.size(); ++i) {
        if (row[i].kind != Kind::F || row[i].microbatch % 2 != 0) continue;
        RC_ASSERT(row[i + 1].kind == Kind::F);
        RC_ASSERT(row[i + 1].microbatch == row[i].microbatch + 1);
        RC_ASSERT(row[i + 1].chain == row[i].chain);
      }
    }
  }));
}

TEST(Chimera, halving_is_the_program_of_doubling_where_whole_units_fit) {
  for (const int m : {8, 16, 24}) EXPECT_EQ(rows_of(chimera(4, m, kHalving)), rows_of(chimera(4, m, kDoubling)));
  EXPECT_NE(rows_of(chimera(4, 12, kHalving)), rows_of(chimera(4, 12, kDoubling)));
}

TEST(Chimera, any_even_shape_is_valid_in_every_channel_mode_and_the_directions_differ_by_one_forward_slot_at_most) {
  EXPECT_TRUE(rc::check([] {
    const int p = 2 * *rc::gen::inRange(1, 6), m = 2 * *rc::gen::inRange(1, 40);
    for (const auto& options : {kDirect, kDoubling, kHalving}) {
      Program program = chimera(p, m, options);
      RC_ASSERT(validate(program).empty());
      for (const std::string& mode : channel_mode_names()) {
        program.channels.front() = channel_mode(mode);
        RC_ASSERT(validate(add_send_recv(program)).empty());
      }
      std::array<int, 2> count{};
      for (const Op& op : program.rows.front()) count[op.chain] += op.kind == Kind::F;
      RC_ASSERT(count[0] + count[1] == m);
      RC_ASSERT(std::abs(count[0] - count[1]) <= 2);
    }
  }));
}

TEST(Chimera, shapes_that_it_cannot_have_are_refused) {
  for (const auto& options : {kDirect, kDoubling, kHalving}) {
    EXPECT_THROW(chimera(3, 8, options), ShapeError);
    EXPECT_THROW(chimera(4, 9, options), ShapeError);
  }
}

}  // namespace
}  // namespace bubblescope
