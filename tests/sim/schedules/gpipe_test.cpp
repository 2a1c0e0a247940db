// Order of GPipe.
#include <gtest/gtest.h>

#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

TEST(GPipe, order_equals_the_oracle) {
  const Program program = generate(find_schedule("gpipe"), {.ranks = 4, .microbatches = 8});
  EXPECT_EQ(to_torch_csv(program, TorchFormat::compute_only), text_of(oracles() / "orders/gpipe_p4_m8.csv"));
}

TEST(GPipe, every_row_ends_with_the_update_of_its_stage) {
  const Program program = generate(find_schedule("gpipe"), {.ranks = 3, .microbatches = 1});
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,0B0,0U", "1F0,1B0,1U", "2F0,2B0,2U"}));
}

TEST(GPipe, clipping_is_a_barrier_of_all_ranks_before_the_updates) {
  const Program program = generate(find_schedule("gpipe"), {.ranks = 2, .microbatches = 1, .options = {{"clip", "1"}}});
  EXPECT_EQ(rows_of(program), (std::vector<std::string>{"0F0,0B0,0SYNC,0U", "1F0,1B0,1SYNC,1U"}));
}

}  // namespace
}  // namespace bubblescope
