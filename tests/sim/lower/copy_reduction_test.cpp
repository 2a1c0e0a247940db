// Bidirectional schedules: where copies of a stage add up their gradients.
#include "sim/lower/copy_reduction.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/fitting_shape.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

using testing::ElementsAre;

// Stage 0 and its copy, stage 2, are the first of their chains; stages 1 and 3 the second. Rank 1 holds
// 1 and 2, and so meets as the owner of 2 first.
TEST(CopyReduction, stands_before_the_updates_in_ascending_position_in_the_chain) {
  const Program program = add_copy_reduction(generate(find_schedule("chimera"), {.ranks = 2, .microbatches = 2}));
  EXPECT_THAT(rows_of(program), ElementsAre("0F0,3F1,3B1,0B0,0ALLREDUCE,3ALLREDUCE,0U,3U", "2F1,1F0,1B0,2B1,2ALLREDUCE,1ALLREDUCE,1U,2U"));
  for (const Op& op : program.rows[1]) {
    if (op.kind == Kind::ALLREDUCE) {
      EXPECT_EQ(op.chain, op.stage == 2 ? 1 : 0);
    }
  }
}

TEST(CopyReduction, stands_before_the_barrier_that_clips_what_was_added_up) {
  const Program program = add_copy_reduction(generate(find_schedule("chimera"), {.ranks = 2, .microbatches = 2, .options = {{"clip", "1"}}}));
  EXPECT_THAT(rows_of(program), ElementsAre("0F0,3F1,3B1,0B0,0ALLREDUCE,3ALLREDUCE,0SYNC,0U,3U", "2F1,1F0,1B0,2B1,2ALLREDUCE,1ALLREDUCE,1SYNC,1U,2U"));
}

TEST(CopyReduction, comes_once_in_every_iteration) {
  const Program once = generate(find_schedule("chimera"), {.ranks = 4, .microbatches = 4});
  EXPECT_EQ(add_copy_reduction(repeat_iterations(once, 3)), repeat_iterations(add_copy_reduction(once), 3));
}

TEST(CopyReduction, leaves_alone_what_has_one_chain_no_update_or_has_been_through_it) {
  for (const char* name : {"1f1b", "dualpipev", "ppll"}) {
    const Program program = generate_fitting(find_schedule(name), {.ranks = 4, .microbatches = 8});
    EXPECT_EQ(add_copy_reduction(program), program) << name;
  }
  const Program reduced = add_copy_reduction(generate(find_schedule("dualpipe"), {.ranks = 4, .microbatches = 8}));
  EXPECT_EQ(add_copy_reduction(reduced), reduced);
  Program endless = generate(find_schedule("chimera"), {.ranks = 2, .microbatches = 2});
  for (auto& row : endless.rows) std::erase_if(row, [](const Op& op) { return op.kind == Kind::U; });
  EXPECT_EQ(add_copy_reduction(endless), endless);
}

TEST(CopyReduction, needs_a_flush) {
  Program program = generate(find_schedule("chimera"), {.ranks = 2, .microbatches = 2});
  program.weights = WeightPolicy::stash;
  EXPECT_THROW(add_copy_reduction(program), InputError);
}

// In order of position no rank waits for one that waits for it, whatever the channels are.
TEST(CopyReduction, all_ranks_meet_in_one_order) {
  for (const char* name : {"chimera", "dualpipe"}) {
    for (const std::int32_t ranks : {2, 4, 16}) {
      Program program = add_copy_reduction(generate_fitting(find_schedule(name), {.ranks = ranks, .microbatches = 2 * ranks}));
      EXPECT_TRUE(validate(add_send_recv(program)).empty()) << name << ' ' << ranks;
      // The last rank's two the other way round: it waits for the first one, which waits for it.
      auto& row = program.rows.back();
      const auto first = std::find_if(row.begin(), row.end(), [](const Op& op) { return op.kind == Kind::ALLREDUCE; });
      std::iter_swap(first, first + 1);
      const auto findings = validate(add_send_recv(program));
      ASSERT_EQ(findings.size(), 1U) << name << ' ' << ranks;
      EXPECT_EQ(findings.front().level, 2);
    }
  }
}

}  // namespace
}  // namespace bubblescope
