// Order of 1F1B.
#include <gtest/gtest.h>

#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

TEST(OneFOneB, order_equals_the_oracle) {
  const Program program = generate(find_schedule("1f1b"), {.ranks = 4, .microbatches = 8});
  EXPECT_EQ(to_torch_csv(program, TorchFormat::compute_only), text_of(oracles() / "orders/1f1b_p4_m8.csv"));
}

TEST(OneFOneB, with_fewer_microbatches_than_ranks_early_ranks_do_all_forwards_first) {
  // Warm-up of rank r is min(p-1-r, m): 2, 1, 0 for p = 3 and m = 2 (rank 0 has no steady phase).
  const Program program = generate(find_schedule("1f1b"), {.ranks = 3, .microbatches = 2});
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,0F1,0B0,0B1,0U", "1F0,1F1,1B0,1B1,1U", "2F0,2B0,2F1,2B1,2U"}));
}

TEST(OneFOneB, clip_adds_one_barrier_per_row) {
  const Program program = generate(find_schedule("1f1b"), {.ranks = 2, .microbatches = 1, .options = {{"clip", "1"}}});
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,0B0,0SYNC,0U", "1F0,1B0,1SYNC,1U"}));
}

}  // namespace
}  // namespace bubblescope
