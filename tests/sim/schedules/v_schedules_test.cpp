// The searched schedules on a V: the oracle's rows, and their memory limits.
#include <gtest/gtest.h>

#include "tests/sim/schedules/searched.hpp"

namespace bubblescope {
namespace {

TEST(VSchedules, reach_or_beat_every_oracle_row) {
  EXPECT_EQ(expect_oracle_rows_reached("zbv_heur_mem2p", "zbv-greedy"), 6U);
  EXPECT_EQ(expect_oracle_rows_reached("v_half", "v-half"), 6U);
  EXPECT_EQ(expect_oracle_rows_reached("v_min", "v-min"), 6U);
  EXPECT_EQ(expect_oracle_rows_reached("v1f1b", "v-1f1b"), 6U);
}

TEST(VSchedules, stages_run_down_the_ranks_and_back_up) {
  for (const char* name : {"zbv-greedy", "v-half", "v-min", "v-1f1b"}) {
    EXPECT_EQ(generate(find_schedule(name), {.ranks = 3, .microbatches = 2}).stage_rank, (std::vector<Rank>{0, 1, 2, 2, 1, 0})) << name;
  }
}

TEST(VSchedules, peaks_stay_within_those_of_the_building_blocks) {
  // Activations of half a rank, of the patterns in arXiv 2405.15362 repeated without end, each W as soon as its
  // rank has nothing else: p = 2 .. 8.
  const std::map<std::string, std::vector<int>> peaks = {
      {"v-half", {4, 4, 6, 6, 8, 8, 10}}, {"v-min", {4, 4, 4, 6, 6, 6, 8}}, {"v-1f1b", {4, 6, 6, 8, 10, 10, 12}}, {"zbv-greedy", {4, 6, 8, 10, 12, 14, 16}}};
  for (const auto& [name, most] : peaks) {
    for (std::int32_t ranks = 2; ranks <= 8; ++ranks) {
      const ScheduleShape shape = searched_shape(ranks, ranks + 2, "F=1,I=1.2,W=0.8", "0.1");
      for (const std::int32_t peak : outcome_of(generate(find_schedule(name), shape), shape).peaks) {
        EXPECT_LE(peak, most[static_cast<std::size_t>(ranks - 2)]) << name << " " << ranks;
      }
    }
  }
}

}  // namespace
}  // namespace bubblescope
