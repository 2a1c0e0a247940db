// Losses and their slices.
#include "sim/core/interlocking.hpp"

#include <gtest/gtest.h>

#include "sim/core/dependencies.hpp"
#include "sim/core/validate.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

Program three_wise() { return generate(find_schedule("interlocking"), {.ranks = 4, .microbatches = 1, .options = {{"losses", "3"}}}); }

TEST(Interlocking, every_stage_has_a_backward_per_loss_that_reaches_it) {
  const Program program = three_wise();
  const Interlocking interlocking(program);
  EXPECT_EQ(interlocking.losses(), 3);
  for (Stage s = 0; s < 4; ++s) {
    EXPECT_EQ(interlocking.backwards(s), std::min(3, 4 - s));
    std::int32_t distance = 0;
    for (const Op& op : program.rows[static_cast<std::size_t>(s)]) {
      if (op.kind != Kind::B) continue;
      EXPECT_EQ(interlocking.distance(op), distance);
      EXPECT_EQ(interlocking.own(op), distance == 0);
      EXPECT_EQ(interlocking.last(op), distance + 1 == interlocking.backwards(s));
      EXPECT_EQ(interlocking.goes_on(op), s > 0 && distance < 2);
      ++distance;
    }
    EXPECT_EQ(distance, interlocking.backwards(s));
  }
}

TEST(Interlocking, gradients_of_a_loss_come_from_the_next_stages_backward_of_that_loss) {
  const Program program = three_wise();
  const Dependencies dependencies = derive_dependencies(program);
  const auto offsets = row_offsets(program);
  const auto text = [&](OpIndex index) {
    const OpAt place = locate(offsets, index);
    const Op& op = program.rows[static_cast<std::size_t>(place.rank)][static_cast<std::size_t>(place.position)];
    return cell(op) + (op.kind == Kind::B ? "/" + std::to_string(op.slice) : "");
  };
  std::string edges;
  for (OpIndex i = offsets[1]; i < offsets[2]; ++i) {
    for (const Dependency& d : dependencies.of(i)) edges += text(d.source) + ">" + text(i) + " ";
  }
  // Stage 1: own loss 1, then those of stages 2 and 3 (slices 2 and 0).
  EXPECT_EQ(edges, "0F0>1F0 1F0>1A0 1A0>1B0/1 1F0>1B0/2 2B0/2>1B0/2 1F0>1B0/0 2B0/0>1B0/0 ");
}

TEST(Interlocking, a_backward_that_is_missing_is_named_with_its_loss) {
  Program program = three_wise();
  auto& row = program.rows[1];
  std::erase_if(row, [](const Op& op) { return op.kind == Kind::B && op.slice == 2; });
  const auto findings = validate(program);
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings.front().message, "stage 1, microbatch 0, iteration 0: no B of the loss of stage 2");
}

TEST(Interlocking, other_profiles_have_one_loss) { EXPECT_EQ(Interlocking(program_of({"0F0,0F0/s1,0B0/s1,0B0"})).losses(), 1); }

TEST(Interlocking, a_loss_beyond_the_last_stage_is_none) {
  Program program = three_wise();
  Op extra = program.rows[3].back();
  extra.kind = Kind::B;
  extra.slice = 1;  // the loss of stage 4
  program.rows[3].insert(program.rows[3].end() - 1, extra);
  const auto findings = validate(program);
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings.front().message, "3B0 of the loss of stage 4; expected stages up to 3");
}

}  // namespace
}  // namespace bubblescope
