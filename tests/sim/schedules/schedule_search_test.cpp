// The search behind zb-heuristic and the V schedules: what must hold for any shape and costs, and how near to
// the lower bounds it comes.
#include "sim/schedules/schedule_search.hpp"

#include <algorithm>

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

TEST(ScheduleSearch, the_help_says_what_orders_are_held_against) {
  for (const std::string& name : kSearched) EXPECT_NE(find_schedule(name).bubble.find("lower bound"), std::string::npos) << name;
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

/// How far above the lower bounds a request's makespan and span may lie, in percent. What is left is no measure of
/// the search alone: where memory is short no order reaches the bounds.
struct Distance {
  const char* schedule;
  std::int32_t ranks, microbatches;
  const char *cost, *latency, *limit;
  std::int32_t activations;  ///< that the limit allows
  double makespan, span;
};

TEST(ScheduleSearch, comes_near_the_lower_bounds) {
  const std::vector<Distance> requests = {
      {"zb-heuristic", 6, 24, "F=2,I=3,W=1", "0.4", "1", 6, 0, 0},
      {"zb-heuristic", 8, 32, "F=1,I=1,W=1", "0.1", "1", 8, 0, 0},
      {"zb-heuristic", 16, 64, "F=1,I=1.2,W=0.6", "0.1", "1", 16, 0.5, 0.5},
      {"zb-heuristic", 3, 2, "F=1,I=1.3,W=0.7", "0.2", "1", 3, 3, 3},
      {"zb-heuristic", 8, 32, "F=10,I=12,W=8", "1", "1.5", 12, 0.5, 2.5},
      {"zb-heuristic", 8, 6, "F=10,I=12,W=8", "1", "2", 16, 3.5, 3.5},
      {"zbv-greedy", 8, 16, "F=1,I=1,W=1", "0", "1", 16, 0, 2},
      {"zbv-greedy", 6, 18, "F=2,I=3,W=1", "0.4", "1", 12, 6, 12},
      {"zbv-greedy", 8, 32, "F=10,I=12,W=8", "1", "1", 16, 1, 5},
      {"v-half", 8, 16, "F=1,I=1,W=1", "0", "", 10, 4, 11},
      {"v-half", 4, 12, "F=10,I=12,W=8", "1", "", 6, 4.5, 9.5},
      {"v-half", 8, 32, "F=10,I=12,W=8", "1", "", 10, 6, 10},
      {"v-min", 8, 16, "F=1,I=1,W=1", "0", "", 8, 9.5, 17},
      {"v-min", 5, 10, "F=2,I=3,W=1", "0.2", "", 6, 18, 27},
      {"v-1f1b", 8, 32, "F=10,I=12,W=8", "1", "", 12, 4, 8},
      {"v-1f1b", 6, 4, "F=1,I=1,W=1", "0.1", "", 10, 1, 13},
  };
  for (const Distance& request : requests) {
    std::map<std::string, std::string> options;
    if (*request.limit != 0) options["memory-limit"] = request.limit;
    const ScheduleShape shape = searched_shape(request.ranks, request.microbatches, request.cost, request.latency, options);
    const Program program = generate(find_schedule(request.schedule), shape);
    const Outcome outcome = outcome_of(program, shape);
    EXPECT_LE(*std::max_element(outcome.peaks.begin(), outcome.peaks.end()), request.activations);
    const OrderTime bound = lower_bound(problem_of(program, shape, std::vector(static_cast<std::size_t>(request.ranks), request.activations)));
    const std::string what = std::string(request.schedule) + " p=" + std::to_string(request.ranks) + " m=" + std::to_string(request.microbatches) + " " + request.cost;
    const auto above = [](Nanos value, Nanos least) { return 100 * (static_cast<double>(value) / static_cast<double>(least) - 1); };
    EXPECT_LE(above(outcome.makespan, bound.makespan), request.makespan) << what;
    EXPECT_LE(above(outcome.span, bound.span), request.span) << what;
  }
}

}  // namespace
}  // namespace bubblescope
