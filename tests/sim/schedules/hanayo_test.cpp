// Hanayo's waves: order, closed form, memory, the paper's bubbles, and interleaved 1F1B beside it.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "sim/core/validate.hpp"
#include "tests/sim/schedules/searched.hpp"

namespace bubblescope {
namespace {

std::map<std::string, std::string> waves(int count) { return {{"waves", std::to_string(count)}}; }

Outcome outcome(const char* schedule, int ranks, int microbatches, const std::string& cost, const std::map<std::string, std::string>& options) {
  const ScheduleShape shape = searched_shape(ranks, microbatches, cost, "0", options);
  return outcome_of(generate(find_schedule(schedule), shape), shape);
}

/// In ticks of a stage's forward, which takes a millisecond; a stage's backward takes `b`.
double ticks(int ranks, int microbatches, int count, int b) {
  const std::string cost = "F=" + std::to_string(2 * count) + ",B=" + std::to_string(2 * count * b);
  return static_cast<double>(outcome("hanayo", ranks, microbatches, cost, waves(count)).makespan) / kMillisecond;
}

TEST(Hanayo, a_wave_goes_down_the_ranks_and_up_again) {
  const Program program = generate(find_schedule("hanayo"), {.ranks = 2, .microbatches = 2});
  EXPECT_EQ(program.stage_rank, (std::vector<Rank>{0, 1, 1, 0}));
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,0F1,3F0,3B0,3F1,3B1,0B0,0B1,0U,3U", "1F0,2F0,1F1,2F1,2B0,1B0,2B1,1B1,1U,2U"}));
}

TEST(Hanayo, makespan_is_that_of_the_work_and_the_way_to_the_last_rank_and_back) {
  // The first op of the last rank waits for p-1 forwards, its last for p-1 backwards, and the way through the
  // steady state, where every stage waits for the longer of F and B, makes both as long as that one:
  // m (F + B) + (p-1) max(F, B) / W of a rank's share. Times are multiples of every 2W here.
  EXPECT_TRUE(rc::check([] {
    const int p = *rc::gen::inRange(1, 9), m = p + *rc::gen::inRange(0, 4 * p), count = *rc::gen::inRange(1, 5);
    const Nanos f = *rc::gen::inRange(1, 5), b = *rc::gen::inRange(1, 9);
    const std::string cost = "F=" + std::to_string(24 * f) + ",B=" + std::to_string(24 * b);
    RC_ASSERT(outcome("hanayo", p, m, cost, waves(count)).makespan == (m * (f + b) * 24 + (p - 1) * std::max(f, b) * 24 / count) * kMillisecond);
  }));
}

TEST(Hanayo, four_microbatches_on_four_ranks_take_the_ticks_of_a_v_emulation) {
  // pipeline-parallelism-tutor, V placement with backward first, F = B = 1 tick per stage.
  EXPECT_EQ(ticks(4, 4, 1, 1), 22);
  EXPECT_EQ(ticks(4, 4, 2, 1), 38);
  EXPECT_EQ(ticks(4, 4, 4, 1), 70);
}

TEST(Hanayo, bubbles_are_at_most_those_of_its_paper) {
  // Derived from Liu et al., arXiv 2308.15762: m = p, B = 2F; with one wave both are the same.
  struct Published {
    int ranks, waves;
    double bubble;
  };
  for (const Published& row : {Published{4, 1, 0.333}, {4, 2, 0.213}, {4, 4, 0.119}, {8, 1, 0.368}, {8, 2, 0.238}, {8, 4, 0.135}}) {
    const double bubble = 1 - row.ranks * row.waves * 2 * 3 / ticks(row.ranks, row.ranks, row.waves, 2);
    EXPECT_LE(bubble, row.bubble + 0.0005) << row.ranks << " ranks, " << row.waves << " waves";
    if (row.waves == 1) {
      EXPECT_NEAR(bubble, row.bubble, 0.0005) << row.ranks << " ranks";
    }
  }
}

TEST(Hanayo, more_microbatches_than_ranks_cost_no_more_than_interleaved_1f1b_but_for_one_ramp) {
  // Interleaved: m (F + B) + (p-1)(F + B) / v with v = 2W, where p divides m. The difference,
  // (p-1)(B - F) / v, does not grow with m.
  for (const int p : {2, 3, 4, 8}) {
    for (const int count : {1, 2, 4}) {
      for (const int m : {p, p + 1, 2 * p - 1, 2 * p, 3 * p + 1, 8 * p}) {
        for (const auto& [cost, difference] : {std::pair<const char*, int>{"F=8,B=8", 0}, {"F=8,B=16", 8}, {"F=16,B=24", 8}}) {
          const Nanos wave = outcome("hanayo", p, m, cost, waves(count)).makespan;
          const Nanos interleaved = outcome("interleaved-1f1b", p, m, cost, {{"chunks", std::to_string(2 * count)}}).makespan;
          EXPECT_LE(wave, interleaved + (p - 1) * difference * kMillisecond / (2 * count)) << "p=" << p << " W=" << count << " m=" << m << ' ' << cost;
        }
      }
    }
  }
}

TEST(Hanayo, no_rank_holds_more_than_p_microbatches_where_they_come_in_whole_rounds) {
  for (const int p : {1, 2, 3, 4, 8}) {
    for (const int count : {1, 2, 4}) {
      for (const int rounds : {1, 2, 3, 6}) {
        for (const std::int32_t peak : outcome("hanayo", p, rounds * p, "F=8,B=16", waves(count)).peaks) EXPECT_LE(peak, 2 * count * p) << "p=" << p << " W=" << count;
      }
    }
  }
}

TEST(Hanayo, longer_rounds_hold_more_by_what_waits_between_the_waves_and_less_than_interleaved_1f1b) {
  // 2(W-1)n + 2p of 2W m; with one wave there is nothing between waves.
  for (const int p : {2, 3, 4, 8}) {
    for (const int count : {1, 2, 4}) {
      for (int m = p + 1; m < 4 * p; ++m) {
        const int rounds = m / p, longest = (m + rounds - 1) / rounds;
        const auto peaks = outcome("hanayo", p, m, "F=8,B=16", waves(count)).peaks;
        const auto interleaved = outcome("interleaved-1f1b", p, m, "F=8,B=16", {{"chunks", std::to_string(2 * count)}}).peaks;
        const std::int32_t most = *std::max_element(peaks.begin(), peaks.end());
        EXPECT_LE(most, 2 * (count - 1) * longest + 2 * p) << "p=" << p << " W=" << count << " m=" << m;
        EXPECT_LE(most, *std::max_element(interleaved.begin(), interleaved.end())) << "p=" << p << " W=" << count << " m=" << m;
      }
    }
  }
}

TEST(Hanayo, schedules_of_any_shape_are_valid_in_every_channel_mode) {
  EXPECT_TRUE(rc::check([] {
    const int p = *rc::gen::inRange(1, 9), m = *rc::gen::inRange(1, 30), count = *rc::gen::inRange(1, 5);
    Program program = generate(find_schedule("hanayo"), {.ranks = p, .microbatches = m, .options = waves(count)});
    RC_ASSERT(validate(program).empty());
    for (const std::string& mode : channel_mode_names()) {
      program.channels.front() = channel_mode(mode);
      RC_ASSERT(validate(add_send_recv(program)).empty());
    }
  }));
}

}  // namespace
}  // namespace bubblescope
