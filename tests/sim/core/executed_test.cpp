// Timelines of what ran.
#include "sim/core/executed.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

TEST(Executed, ops_that_never_ran_have_no_span_and_waits_point_to_what_is_left) {
  const Program program = generate(find_schedule("gpipe"), {.ranks = 1, .microbatches = 1});  // F, B, U
  std::vector<Executed> executed(program.op_count());
  executed[0] = {0, 5, -1, Wait::nothing};
  executed[2] = {9, 12, 0, Wait::stream};
  Timeline timeline = executed_timeline(program, "measured", executed, [](OpIndex op, const Op&) { return std::int64_t{op}; });
  ASSERT_EQ(timeline.spans.size(), 3u);
  drop_unrun(timeline);
  ASSERT_EQ(timeline.spans.size(), 2u);
  EXPECT_EQ(timeline.spans[1].start, 9);
  EXPECT_EQ(timeline.spans[1].waited_for, 0);
  EXPECT_EQ(timeline.spans[1].bytes, 2);
  EXPECT_EQ(timeline.label, "measured");
}

TEST(Executed, launches_stand_on_the_host_track_of_their_rank_with_their_iteration) {
  const Program program = repeat_iterations(generate(find_schedule("gpipe"), {.ranks = 2, .microbatches = 1}), 2);
  Timeline timeline = empty_timeline(program, "measured");
  Tracks tracks(timeline);
  add_launch(timeline, tracks, 1, program, program.rows[1].back(), 3, 4);
  EXPECT_EQ(timeline.tracks[static_cast<std::size_t>(timeline.spans[0].track)].stream, StreamKind::host);
  EXPECT_EQ(timeline.tracks[static_cast<std::size_t>(timeline.spans[0].track)].rank, 1);
  EXPECT_EQ(timeline.span_name(timeline.spans[0]), "launch 1U");
  EXPECT_EQ(timeline.spans[0].op.iteration, 1);
}

}  // namespace
}  // namespace bubblescope
