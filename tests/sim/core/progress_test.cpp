// V2 and V3 against the simulator, on a thousand Programs with mistakes: what passes runs to its end.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "sim/core/error.hpp"
#include "sim/core/psched.hpp"
#include "sim/core/validate.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/safe_channels.hpp"
#include "tests/sim/mutated_program.hpp"

namespace bubblescope {
namespace {

StageCosts uneven_costs(std::int32_t stages) {
  StageCosts costs(stages);
  for (Stage s = 0; s < stages; ++s) {
    for (int k = 0; k <= static_cast<int>(Kind::U); ++k) costs.at(s, static_cast<Kind>(k)).duration = 1 + (s + k) % 3;
  }
  return costs;
}

/// Predicts `program` with both engines; whether it deadlocks.
bool deadlocks(const Program& program) {
  const StageCosts costs = uneven_costs(program.stages());
  const Cluster cluster = uniform_cluster(program.ranks(), {1, 0});
  const Simulation swept = simulate(program, costs, cluster, {Engine::sweep});
  const Simulation run = simulate(program, costs, cluster, {Engine::events});
  RC_ASSERT(swept.deadlock.has_value() == run.deadlock.has_value());
  if (!swept.deadlock) {
    RC_ASSERT(swept.timeline.makespan() == run.timeline.makespan());
    RC_ASSERT(swept.timeline.spans.size() == program.op_count());
    for (const Span& span : swept.timeline.spans) RC_ASSERT(span.start >= 0 && span.end >= span.start);
  } else {
    RC_ASSERT(swept.deadlock->cycle.size() > 1);
  }
  return swept.deadlock.has_value();
}

/// Likewise, of two iterations where those overlap: validation looks at both.
bool deadlocks_at_last(const Program& program) { return deadlocks(program) || (!program.overlap.empty() && deadlocks(repeat_iterations(program, 2))); }

struct Outcomes {
  int rejected = 0, ran = 0;
};

void examine(const Program& program, Outcomes& outcomes) {
  const std::vector<Finding> findings = validate(program);
  if (findings.empty()) {
    RC_ASSERT(!deadlocks_at_last(program));
    ++outcomes.ran;
    return;
  }
  ++outcomes.rejected;
  for (const Finding& finding : findings) RC_ASSERT(!describe(finding).empty());
  if (findings.front().level < 3) return;
  // A deadlock of the channels alone is predicted as one; orders that differ may still get through.
  const bool cycle = !findings.back().cycle.empty();
  if (deadlocks_at_last(program) != cycle) RC_FAIL(fmt::format("{}\nbut predicted otherwise:\n{}", describe(findings.back()), to_psched(program)));
}

TEST(MutatedPrograms, a_thousand_are_rejected_or_run_to_their_end) {
  Outcomes outcomes;
  EXPECT_TRUE(rc::check([&] {
    for (int i = 0; i < 10; ++i) {  // times 100 of rapidcheck's
      Program program = any_scheduled_program();
      const auto mistakes = *rc::gen::weightedElement<int>({{4, 1}, {2, 2}, {1, 3}});
      for (int k = 0; k < mistakes; ++k) Mutator(program).mutate();
      examine(program, outcomes);
      if (!validate(program, 2).empty()) continue;
      Program lowered;
      try {
        lowered = add_send_recv(program);
      } catch (const InputError& error) {
        RC_FAIL(fmt::format("valid, but cannot be lowered: {}\n{}", error.what(), to_psched(program)));
      }
      examine(lowered, outcomes);
    }
  }));
  // Both really happen.
  EXPECT_GT(outcomes.rejected, 100);
  EXPECT_GT(outcomes.ran, 100);
}

TEST(MutatedPrograms, the_channels_named_safe_are_those_that_get_through) {
  EXPECT_TRUE(rc::check([] {
    Program program = add_send_recv(any_scheduled_program());
    for (int k = *rc::gen::inRange(1, 4); k > 0; --k) {
      // Neighbours change places: V1 often still holds, V3 often not.
      auto& row = program.rows[*rc::gen::inRange<std::size_t>(0, program.rows.size())];
      if (row.size() < 2) continue;
      const auto at = *rc::gen::inRange<std::size_t>(0, row.size() - 1);
      std::swap(row[at], row[at + 1]);
    }
    if (!validate(program, 1).empty()) return;
    const std::vector<std::string> safe = safe_channels(program);
    for (const std::string& mode : channel_mode_names()) {
      program.channels = {channel_mode(mode)};
      const bool named = std::find(safe.begin(), safe.end(), mode) != safe.end();
      RC_ASSERT(named == validate(program).empty());
      if (named) RC_ASSERT(!deadlocks(program));
    }
  }));
}

}  // namespace
}  // namespace bubblescope
