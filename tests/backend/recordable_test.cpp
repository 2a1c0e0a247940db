// Programs that can be recorded, and why others cannot.
#include "backend/recordable.hpp"

#include <gmock/gmock.h>

#include "sim/lower/recompute.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

using testing::HasSubstr;

Program scheduled(const char* name) {
  ScheduleShape shape;
  shape.ranks = 2;
  shape.microbatches = 4;
  return generate(find_schedule(name), shape);
}

TEST(Recordable, are_programs_whose_weights_and_activations_stay_in_place) {
  for (const char* name : {"ppll", "sequential-local", "gpipe", "1f1b", "zb-h1", "zbv", "dualpipe", "ddg"}) EXPECT_EQ(not_recordable(scheduled(name)), "") << name;
  for (const char* name : {"pipedream", "pipedream-2bw"}) EXPECT_THAT(not_recordable(scheduled(name)), HasSubstr("older weights")) << name;
  EXPECT_THAT(not_recordable(scheduled("interlocking")), HasSubstr("interlock"));
  EXPECT_THAT(not_recordable(with_recompute(scheduled("1f1b"), "all")), HasSubstr("recomputing"));
}

}  // namespace
}  // namespace bubblescope
