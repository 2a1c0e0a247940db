// Which channels a schedule runs on, where receives are deferred, orders differ or nothing helps.
#include "sim/lower/safe_channels.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/validate.hpp"
#include "sim/lower/passes.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

Program scheduled(const std::string& name) { return generate(find_schedule(name), {.ranks = 4, .microbatches = 8}); }

TEST(SafeChannels, sends_and_receives_in_pytorchs_order_are_safe_on_all) {
  for (const char* name : {"gpipe", "1f1b", "interleaved-zb", "zbv", "dualpipev", "chimera"}) {
    EXPECT_THAT(safe_channels(scheduled(name)), ElementsAre("async", "rank", "data", "edge")) << name;
  }
}

TEST(SafeChannels, deferred_receives_deadlock_on_one_strict_fifo_on_all_but_gpipe) {
  // An independent model of deferral, p=4, m=8: one FIFO per rank deadlocks on all but GPipe, one per kind of
  // data cures schedules of one chunk only, one per directed edge is safe for all whose orders match.
  EXPECT_THAT(safe_channels(scheduled("gpipe"), "defer-receives"), Contains("rank"));
  for (const char* name : {"1f1b", "zb1p", "interleaved-1f1b", "interleaved-zb"}) {
    const std::vector<std::string> safe = safe_channels(scheduled(name), "defer-receives");
    EXPECT_THAT(safe, Not(Contains("rank"))) << name;
    EXPECT_THAT(safe, Contains("edge")) << name;
    EXPECT_THAT(safe, Contains("rank,eager")) << name;  // small messages hide it
    const bool one_chunk = scheduled(name).chunks == 1;
    EXPECT_EQ(std::find(safe.begin(), safe.end(), "data") != safe.end(), one_chunk) << name;
  }
  // Their k-th send on a pair of ranks is not the k-th receive: an activation takes the place of a gradient. No
  // FIFO that holds both is safe, however eager.
  for (const char* name : {"zbv", "dualpipev"}) EXPECT_THAT(safe_channels(scheduled(name), "defer-receives"), ElementsAre("async", "data,eager")) << name;
}

TEST(SafeChannels, the_least_eager_size_is_that_of_the_largest_message_that_must_not_wait) {
  // Both ranks first send, then receive, on one FIFO each: one of the two sends must not wait.
  const Program program = program_of({"0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1", "1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1"});
  EXPECT_THAT(safe_channels(program), ElementsAre("async", "rank,eager", "data", "edge"));
  const std::vector<std::int64_t> sizes{1000, 9};  // the last stage's output goes nowhere
  EXPECT_THAT(safe_channels(program, {}, sizes), ElementsAre("async", "rank,eager=1000", "data", "edge"));
}

TEST(SafeChannels, a_program_whose_order_deadlocks_has_none) {
  EXPECT_THAT(safe_channels(program_of({"0F0,0B0,0F1,0B1", "1F1,1B1,1F0,1B0"})), IsEmpty());
}

TEST(SafeChannels, what_is_named_safe_is_valid_and_the_rest_is_not) {
  for (const Schedule& schedule : schedules()) {
    if (schedule.local) continue;
    const Program program = scheduled(schedule.name);
    for (const char* passes : {"", "defer-receives"}) {
      const std::vector<std::string> safe = safe_channels(program, passes);
      for (const std::string& mode : channel_mode_names()) {
        Program on = program;
        on.channels = {channel_mode(mode)};
        EXPECT_EQ(validate(lower(on, passes)).empty(), std::find(safe.begin(), safe.end(), mode) != safe.end()) << schedule.name << ' ' << mode << ' ' << passes;
      }
    }
  }
}

}  // namespace
}  // namespace bubblescope
