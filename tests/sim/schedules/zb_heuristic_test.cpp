// Zero bubble within a memory limit: the oracle's rows, closed forms, the limit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"
#include "tests/sim/schedules/searched.hpp"

namespace bubblescope {
namespace {

TEST(ZbHeuristic, reaches_or_beats_every_oracle_row) {
  for (const std::string limit : {"1", "1.5", "2"}) {
    EXPECT_EQ(expect_oracle_rows_reached("zbheur_mem" + limit + "p", "zb-heuristic", {{"memory-limit", limit}}), 6U);
  }
}

TEST(ZbHeuristic, with_equal_costs_the_makespan_is_the_fill_of_the_last_rank_and_its_work) {
  // (p-1) F + 3 m F: the last rank starts after p-1 forwards and is busy from then on. A rank's span is its
  // work and the time for which rank 0 has no forward left, 2p-1 until the first gradient less its memory.
  for (const auto& [ranks, microbatches, limit, memory] : std::vector<std::tuple<int, int, const char*, int>>{{3, 9, "1", 3}, {4, 12, "1.5", 6}, {5, 15, "2", 10}}) {
    const ScheduleShape shape = searched_shape(ranks, microbatches, "F=1,I=1,W=1", "0", {{"memory-limit", limit}});
    const Outcome outcome = outcome_of(generate(find_schedule("zb-heuristic"), shape), shape);
    EXPECT_EQ(outcome.makespan, (ranks - 1 + 3 * microbatches) * kMillisecond);
    EXPECT_EQ(outcome.span, (3 * microbatches + std::max(0, 2 * ranks - 1 - memory)) * kMillisecond);
  }
}

TEST(ZbHeuristic, holds_as_many_activations_as_the_limit_names_and_no_more) {
  // 0.29 x 100 is 28.999... in binary; 29 is meant.
  const ScheduleShape shape = searched_shape(100, 40, "F=1,I=1,W=1", "0", {{"memory-limit", "0.29"}});
  const Outcome outcome = outcome_of(generate(find_schedule("zb-heuristic"), shape), shape);
  EXPECT_EQ(*std::max_element(outcome.peaks.begin(), outcome.peaks.end()), 29);
}

TEST(ZbHeuristic, a_limit_that_admits_nothing_is_refused) {
  try {
    generate(find_schedule("zb-heuristic"), {.ranks = 4, .microbatches = 8, .options = {{"memory-limit", "0.2"}}});
    ADD_FAILURE() << "no error";
  } catch (const ShapeError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("may keep 0 stage activations per rank; expected at least 1"));
  }
}

}  // namespace
}  // namespace bubblescope
