// Order and limits of interleaved 1F1B.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

const Schedule& interleaved() { return find_schedule("interleaved-1f1b"); }

TEST(InterleavedOneFOneB, order_with_two_chunks_equals_the_oracle) {
  const Program program = generate(interleaved(), {.ranks = 4, .microbatches = 8});
  EXPECT_EQ(to_torch_csv(program, TorchFormat::compute_only), text_of(oracles() / "orders/interleaved1f1b_v2_p4_m8.csv"));
}

TEST(InterleavedOneFOneB, order_with_four_chunks_equals_the_oracle) {
  const Program program = generate(interleaved(), {.ranks = 4, .microbatches = 8, .options = {{"chunks", "4"}}});
  EXPECT_EQ(to_torch_csv(program, TorchFormat::compute_only), text_of(oracles() / "orders/interleaved1f1b_v4_p4_m8.csv"));
  EXPECT_EQ(program.chunks, 4);
}

TEST(InterleavedOneFOneB, a_rank_updates_all_its_stages_at_the_end) {
  const Program program = generate(interleaved(), {.ranks = 2, .microbatches = 1, .options = {{"clip", "1"}}});
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,2F0,2B0,0B0,0SYNC,0U,2U", "1F0,3F0,3B0,1B0,1SYNC,1U,3U"}));
}

TEST(InterleavedOneFOneB, rounds_may_be_longer_than_the_number_of_ranks) {
  // p = 2, m = 3: one round of 3. Warm-up of rank 1: (v-1) 3 + 0 = 3, of rank 0: 3 + 2 = 5.
  const Program program = generate(interleaved(), {.ranks = 2, .microbatches = 3});
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{
                                  "0F0,0F1,0F2,2F0,2F1,2F2,2B0,2B1,2B2,0B0,0B1,0B2,0U,2U",
                                  "1F0,1F1,1F2,3F0,3B0,3F1,3B1,3F2,3B2,1B0,1B1,1B2,1U,3U"}));
}

TEST(InterleavedOneFOneB, rounds_that_do_not_divide_the_microbatches_differ_by_one) {
  // p = 2, m = 5: 2 rounds, of 3 and of 2. Warm-up of rank 1: (v-1) 3 + 0 = 3, of rank 0: 3 + 2 = 5.
  const Program program = generate(interleaved(), {.ranks = 2, .microbatches = 5});
  EXPECT_EQ(rows_of(program)[1], "1F0,1F1,1F2,3F0,3B0,3F1,3B1,3F2,3B2,1F3,1B0,1F4,1B1,3F3,1B2,3F4,3B3,3B4,1B3,1B4,1U,3U");
}

TEST(Interleaved, schedules_of_any_shape_come_to_their_end) {
  for (const char* name : {"interleaved-1f1b", "interleaved-zb", "looped-bfs"}) {
    for (int p = 1; p <= 6; ++p) {
      for (int v = 1; v <= 4; ++v) {
        for (int m = 1; m <= 3 * p + 2; ++m) {
          const ScheduleShape shape{.ranks = p, .microbatches = m, .options = {{"chunks", std::to_string(v)}}};
          EXPECT_NO_THROW(generate(find_schedule(name), shape)) << name << " p=" << p << " v=" << v << " m=" << m;
        }
      }
    }
  }
}

}  // namespace
}  // namespace bubblescope
