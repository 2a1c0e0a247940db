// The steady-state period against the rate of long runs, and of programs that hold several iterations.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <limits>

#include "sim/core/cost_list.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

Program lowered(const std::string& name, int ranks, int microbatches, std::map<std::string, std::string> options = {}) {
  return add_send_recv(generate(find_schedule(name), {ranks, microbatches, std::move(options), nullptr}));
}

Nanos period_of(const Program& program, const char* costs) {
  return steady_period(program, stage_costs(parse_cost_list(costs), program), uniform_cluster(program.ranks())).value_or(-1);
}

TEST(SteadyPeriod, of_a_program_of_several_iterations_is_that_of_one) {
  // GPipe, p = 2, m = 4, F + B = 3 ms: span (m + p - 1) * 3 = 15 ms. PPLL: one microbatch per F + LB of
  // the slower rank, 4 ms. Serial: both ranks' F + LB per batch, 3 + 4 = 7 ms.
  for (const int iterations : {1, 2, 3}) {
    EXPECT_EQ(period_of(repeat_iterations(lowered("gpipe", 2, 4), iterations), "F=1,B=2"), 15 * kMillisecond) << iterations;
    EXPECT_EQ(period_of(repeat_iterations(lowered("ppll", 2, 4), iterations), "F=1,LB=2:3"), 4 * kMillisecond) << iterations;
    EXPECT_EQ(period_of(repeat_iterations(lowered("sequential-local", 2, 4), iterations), "F=1,LB=2:3"), 7 * kMillisecond) << iterations;
  }
}

TEST(SteadyPeriod, of_a_queue_longer_than_any_run_is_that_of_the_slowest_rank) {
  for (const std::int32_t capacity : {1000, 1'000'000, std::numeric_limits<std::int32_t>::max()}) {
    for (const int microbatches : {1, 4}) {
      Program program = lowered("ppll", 2, microbatches);
      program.channels.front().capacity = capacity;
      EXPECT_EQ(period_of(program, "F=1:3,LB=1"), 4 * kMillisecond) << capacity;
      EXPECT_EQ(period_of(program, "F=3:1,LB=1"), 4 * kMillisecond) << capacity;
    }
  }
}

}  // namespace
}  // namespace bubblescope
