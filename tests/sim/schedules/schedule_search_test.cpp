// The search behind zb-heuristic and the V schedules: what must hold for any shape and costs, and how near to
// the lower bounds it comes.
#include "sim/schedules/schedule_search.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "sim/core/validate.hpp"
#include "tests/sim/schedules/searched.hpp"

namespace bubblescope {
namespace {

const std::vector<std::string> kSearched{"zb-heuristic", "zbv-greedy", "v-half", "v-min", "v-1f1b"};

std::string any_cost(std::int32_t ranks) {
  std::string text;
  for (const char* kind : {"F", "I", "W"}) {
    text += text.empty() ? "" : ",";
    text += std::string(kind) + "=";
    const bool unequal = *rc::gen::arbitrary<bool>();
    for (std::int32_t r = 0; r < (unequal ? ranks : 1); ++r) text += (r > 0 ? ":" : "") + std::to_string(*rc::gen::inRange(0, 30));
  }
  return text;
}

/// The problem that a schedule's request poses, with `limits` per rank.
PipelineProblem problem_of(const Program& program, const ScheduleShape& shape, std::vector<std::int32_t> limits) {
  Program placed = program;
  for (auto& row : placed.rows) row.clear();
  return pipeline_problem(shape, placed, std::move(limits));
}

TEST(ScheduleSearch, keeps_the_limit_and_the_bounds_for_any_shape_and_costs) {
  EXPECT_TRUE(rc::check([] {
    const std::int32_t ranks = *rc::gen::inRange(1, 7), microbatches = *rc::gen::inRange(1, 13);
    const std::int32_t chunks = *rc::gen::inRange(1, 3);
    const double part = *rc::gen::elementOf(std::vector<double>{1, 1.5, 2});
    const std::string limit = std::to_string(part);
    const ScheduleShape shape = searched_shape(ranks, microbatches, any_cost(ranks), std::to_string(*rc::gen::inRange(0, 10)), {{"memory-limit", limit}});
    const Program program = generate(find_schedule(chunks == 1 ? "zb-heuristic" : "zbv-greedy"), shape);
    RC_ASSERT(validate(program, 3).empty());
    const Outcome outcome = outcome_of(program, shape);
    const auto most = static_cast<std::int32_t>(part * ranks * chunks);
    for (const std::int32_t peak : outcome.peaks) RC_ASSERT(peak <= most);
    const OrderTime bound = lower_bound(problem_of(program, shape, std::vector(static_cast<std::size_t>(ranks), most)));
    RC_ASSERT(outcome.makespan >= bound.makespan);
    RC_ASSERT(outcome.span >= bound.span);
    RC_ASSERT(generate(find_schedule(program.schedule), shape) == program);
  }));
}

TEST(ScheduleSearch, without_costs_every_schedule_is_the_one_for_equal_costs) {
  for (const std::string& name : kSearched) {
    const Program program = generate(find_schedule(name), {.ranks = 3, .microbatches = 4});
    EXPECT_EQ(program, generate(find_schedule(name), searched_shape(3, 4, "F=1us,I=1us,W=1us", "0"))) << name;
  }
}

TEST(ScheduleSearch, boundary_bytes_take_time_on_the_links) {
  // 1000 bytes at 1 GB/s are 1 us, as a latency of 1 us.
  ScheduleShape by_bytes = searched_shape(4, 8, "F=1us,I=1us,W=1us", "0");
  by_bytes.costs = [list = parse_cost_list("F=1us,I=1us,W=1us")](const Program& placed) {
    StageCosts costs = stage_costs(list, placed);
    for (Stage s = 0; s < placed.stages(); ++s) costs.bytes(s).output = 1000;
    return costs;
  };
  by_bytes.cluster = uniform_cluster(4, {.latency = 0, .bandwidth = 1e9});
  for (const std::string& name : kSearched) {
    EXPECT_EQ(generate(find_schedule(name), by_bytes), generate(find_schedule(name), searched_shape(4, 8, "F=1us,I=1us,W=1us", "1us"))) << name;
  }
}

/// The smallest makespan and span known of a request.
struct Best {
  const char* schedule;
  std::int32_t ranks, microbatches;
  const char *cost, *latency, *limit;
  double makespan_ms, span_ms;
};

TEST(ScheduleSearch, stays_within_two_percent_of_the_best_known) {
  const std::vector<Best> known = {
      // Equal to the lower bound, makespan and span.
      {"zb-heuristic", 6, 24, "F=2,I=3,W=1", "0.4", "1", 172, 172},
      {"zb-heuristic", 8, 32, "F=1,I=1,W=1", "0.1", "1", 105.8, 105.8},
      {"zb-heuristic", 16, 64, "F=1,I=1.2,W=0.6", "0.1", "1", 209.2, 209.2},
      // The makespan equal to the lower bound, of which the span is 48.
      {"zbv-greedy", 8, 16, "F=1,I=1,W=1", "0", "1", 51.5, 48.5},
      // The best of a search thirty times as long. Lower bounds of makespan and span behind.
      {"zb-heuristic", 3, 2, "F=1,I=1.3,W=0.7", "0.2", "1", 10.7, 10.7},           // 10.4, 10.4
      {"zb-heuristic", 8, 32, "F=10,I=12,W=8", "1", "1.5", 1040, 1040},            // 1037, 1018
      {"zb-heuristic", 8, 6, "F=10,I=12,W=8", "1", "2", 308, 308},                 // 298, 298
      {"zbv-greedy", 6, 18, "F=2,I=3,W=1", "0.4", "1", 127.2, 127.2},              // 121.5, 114.5
      {"zbv-greedy", 8, 32, "F=10,I=12,W=8", "1", "1", 1025, 1025},                // 1023, 981
      {"v-half", 8, 16, "F=1,I=1,W=1", "0", "", 56.5, 56.5},                       // 54.5, 51
      {"v-half", 4, 12, "F=10,I=12,W=8", "1", "", 413, 413},                       // 397, 379
      {"v-half", 8, 32, "F=10,I=12,W=8", "1", "", 1109, 1109},                     // 1053, 1011
      {"v-min", 8, 16, "F=1,I=1,W=1", "0", "", 59.5, 59.5},                        // 55.5, 52
      {"v-min", 5, 10, "F=2,I=3,W=1", "0.2", "", 85.1, 85.1},                      // 72.4, 67.6
      {"v-1f1b", 8, 32, "F=10,I=12,W=8", "1", "", 1079, 1079},                     // 1043, 1001
      {"v-1f1b", 6, 4, "F=1,I=1,W=1", "0.1", "", 18.1, 18},                        // 18, 16
  };
  for (const Best& best : known) {
    std::map<std::string, std::string> options;
    if (*best.limit != 0) options["memory-limit"] = best.limit;
    const ScheduleShape shape = searched_shape(best.ranks, best.microbatches, best.cost, best.latency, options);
    const Outcome outcome = outcome_of(generate(find_schedule(best.schedule), shape), shape);
    const std::string what = std::string(best.schedule) + " p=" + std::to_string(best.ranks) + " m=" + std::to_string(best.microbatches) + " " + best.cost;
    EXPECT_LE(static_cast<double>(outcome.makespan), best.makespan_ms * 1.02e6) << what;
    EXPECT_LE(static_cast<double>(outcome.span), best.span_ms * 1.02e6) << what;
  }
}

}  // namespace
}  // namespace bubblescope
