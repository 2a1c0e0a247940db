// Versions and staleness, by the papers' own figures.
#include "sim/core/weight_versions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

using testing::Each;
using testing::ElementsAre;

TEST(WeightVersions, follow_the_updates_of_a_row) {
  // F1 runs before the first update, its backward after it.
  const std::vector<std::string> rows{"0F0,0F1,0B0,0U0,0B1,0U1"};
  const VersionUse first{0, 0, 0, 0, 0};
  EXPECT_THAT(weight_versions(program_of(rows, "#weights latest\n")), ElementsAre(ElementsAre(first, VersionUse{0, 1, 0, 1, 1})));
  EXPECT_THAT(weight_versions(program_of(rows, "#weights stash\n")), ElementsAre(ElementsAre(first, VersionUse{0, 1, 0, 0, 1})));
}

TEST(WeightVersions, a_backward_that_recomputes_reads_the_newest_and_its_error_gradient_is_as_old_as_the_forward) {
  const auto uses = weight_versions(program_of({"0F0,0F1,0R0,0B0,0U0,0R1,0B1,0U1"}, "#weights latest\n"));
  EXPECT_EQ(uses.at(0).at(1), (VersionUse{0, 1, 0, 1, 1}));
  EXPECT_EQ(uses.at(0).at(1).staleness(), 1);
}

TEST(WeightVersions, two_buffers_delay_every_iteration_by_one_update) {
  // PipeDream-2BW, arXiv 2006.09503, section 3.1: W(t+1) = W(t) - v grad f(W(t-1)).
  const Program stream = repeat_iterations(generate(find_schedule("pipedream-2bw"), {.ranks = 4, .microbatches = 4}), 5);
  for (const auto& stage : weight_versions(stream)) {
    ASSERT_EQ(stage.size(), 20U);
    for (const VersionUse& use : stage) {
      EXPECT_EQ(use.forward, std::max(0, use.iteration - 1));
      EXPECT_EQ(use.backward, use.forward);
      EXPECT_EQ(use.applied, use.iteration);
    }
  }
}

TEST(Staleness, is_that_of_the_papers) {
  const auto of = [](const char* name) { return staleness(generate(find_schedule(name), {.ranks = 4, .microbatches = 8})); };
  EXPECT_THAT(of("1f1b"), Each(0));
  EXPECT_THAT(of("ppll"), Each(0));
  // p-1-k: PipeDream (arXiv 1806.03377, section 3.3, with stages from 0), DDG (arXiv 1804.10574).
  for (const char* name : {"pipedream", "ddg", "features-replay"}) EXPECT_THAT(of(name), ElementsAre(3, 2, 1, 0)) << name;
  EXPECT_THAT(of("pipedream-2bw"), Each(1));
  // 2(p-1-k): FDG's delays are 4/2/0 for three modules (arXiv 1906.09108).
  for (const char* name : {"pipelined-backprop", "fdg"}) EXPECT_THAT(of(name), ElementsAre(6, 4, 2, 0)) << name;
}

}  // namespace
}  // namespace bubblescope
