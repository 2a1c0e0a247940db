// Which spans belong together: meetings, and transfers of what compounds made.
#include "analysis/span_index.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

TEST(SpanIndex, barriers_are_met_one_after_the_other) {
  TimelineBuilder builder(2, 2, 1);
  const auto first0 = builder.add(0, "0SYNC", 4, 5), first1 = builder.add(1, "1SYNC", 4, 5);
  const auto second0 = builder.add(0, "0SYNC", 8, 9), second1 = builder.add(1, "1SYNC", 9, 9);  // not to the nanosecond
  const SpanIndex index(builder.timeline());
  EXPECT_THAT(index.members(first1), UnorderedElementsAre(first0, first1));
  EXPECT_THAT(index.members(second0), UnorderedElementsAre(second0, second1));
}

// Bidirectional: ranks 0 and 3 hold the ends of both chains, ranks 1 and 2 what is between, and each pair
// meets twice. All four of the second meetings start in the same nanosecond.
TEST(SpanIndex, reductions_are_met_by_the_copies_of_a_stage) {
  TimelineBuilder builder(4, 8, 1);
  builder.timeline().chains = {{0, 1, 2, 3}, {4, 5, 6, 7}};
  const auto a0 = builder.add(0, "0ALLREDUCE", 10, 12), b0 = builder.add(0, "7ALLREDUCE", 12, 14);
  const auto a1 = builder.add(1, "1ALLREDUCE", 7, 8), b1 = builder.add(1, "6ALLREDUCE", 12, 13);
  const auto a2 = builder.add(2, "5ALLREDUCE", 7, 8), b2 = builder.add(2, "2ALLREDUCE", 12, 13);
  const auto a3 = builder.add(3, "4ALLREDUCE", 10, 12), b3 = builder.add(3, "3ALLREDUCE", 12, 14);
  const auto again1 = builder.add(1, "1ALLREDUCE", 20, 21), again2 = builder.add(2, "5ALLREDUCE", 20, 21);
  const SpanIndex index(builder.timeline());
  EXPECT_THAT(index.members(a0), ElementsAre(a0, a3));
  EXPECT_THAT(index.members(a2), ElementsAre(a1, a2));
  EXPECT_THAT(index.members(b1), ElementsAre(b1, b2));
  EXPECT_THAT(index.members(b3), ElementsAre(b0, b3));
  EXPECT_THAT(index.members(again1), ElementsAre(again1, again2));
}

TEST(SpanIndex, what_a_compound_made_is_found_whatever_its_direction) {
  TimelineBuilder builder(2, 4, 2);
  const auto both = builder.add(0, "(0F0;3B1)OVERLAP_F_B", 0, 4);
  const auto send = builder.add(0, "3SEND_B1", 4, 5);
  builder.timeline().spans[static_cast<std::size_t>(send)].op.chain = 1;
  const SpanIndex index(builder.timeline());
  EXPECT_EQ(index.producer(builder.timeline().spans[static_cast<std::size_t>(send)].op), both);
}

}  // namespace
}  // namespace bubblescope
