// Every schedule at about a million lowered ops, and the cost per op from ten thousand to ten million: generating,
// lowering and simulating, apart and together. bench/perf/plot.py makes the table and the plot of it.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "sim/core/cost_list.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

/// Searched schedules learn their order on a few ranks; the time of that search is in `generate`, too. Few ranks
/// also where sizes are compared: the smallest holds twice as many microbatches as there are ranks.
constexpr std::int32_t kManyRanks = 64, kFewRanks = 8;

Program generate_for(const Schedule& schedule, std::int32_t ranks, std::int32_t microbatches) {
  ScheduleShape shape;
  shape.ranks = ranks;
  shape.microbatches = microbatches;
  return generate(schedule, std::move(shape));
}

/// The number of microbatches that gives about so many ops after lowering: they grow with it. A multiple of the
/// ranks, which every schedule takes.
std::int32_t microbatches_for(const Schedule& schedule, std::int32_t p, std::int64_t ops) {
  const std::int32_t few = 2 * p;
  static std::map<std::pair<std::string, std::int32_t>, std::size_t> known;
  auto& count = known[{schedule.name, p}];
  if (count == 0) count = add_send_recv(generate_for(schedule, p, few)).op_count();
  const std::int64_t wanted = ops * few / static_cast<std::int64_t>(count);
  return static_cast<std::int32_t>(std::max<std::int64_t>(1, (wanted + p / 2) / p)) * p;
}

StageCosts costs_of(const Program& program) { return stage_costs(parse_cost_list("F=1,I=1,W=1,LB=2"), program); }

/// What is timed.
enum class Phase { generate, lower, simulate, lower_and_simulate, whole };

void measure(benchmark::State& state, const Schedule& schedule, std::int32_t ranks, Phase phase, std::int64_t ops) {
  const Cluster cluster = uniform_cluster(ranks, {10 * kMicrosecond, 0});
  const std::int32_t microbatches = microbatches_for(schedule, ranks, ops);
  const bool generated = phase == Phase::lower || phase == Phase::simulate || phase == Phase::lower_and_simulate;
  const Program order = generated ? generate_for(schedule, ranks, microbatches) : Program{};
  const Program lowered = phase == Phase::simulate ? add_send_recv(order) : Program{};
  const StageCosts costs = phase == Phase::simulate ? costs_of(order) : StageCosts{};
  std::size_t count = lowered.op_count();
  for (auto _ : state) {
    if (phase == Phase::generate) {
      benchmark::DoNotOptimize(generate_for(schedule, ranks, microbatches));
    } else if (phase == Phase::lower) {
      const Program result = add_send_recv(order);
      count = result.op_count();
    } else if (phase == Phase::simulate) {
      benchmark::DoNotOptimize(simulate(lowered, costs, cluster));
    } else {
      const Program result = phase == Phase::whole ? add_send_recv(generate_for(schedule, ranks, microbatches)) : add_send_recv(order);
      benchmark::DoNotOptimize(simulate(result, costs_of(result), cluster));
      count = result.op_count();
    }
  }
  if (phase == Phase::generate) count = add_send_recv(generate_for(schedule, ranks, microbatches)).op_count();
  state.counters["ops"] = static_cast<double>(count);
  state.counters["ranks"] = ranks;
  state.counters["microbatches"] = microbatches;
}

void add(const std::string& group, const Schedule& schedule, std::int32_t ranks, Phase phase, std::int64_t ops) {
  static const std::map<Phase, std::string> names{{Phase::generate, "generate"}, {Phase::lower, "lower"}, {Phase::simulate, "simulate"}, {Phase::lower_and_simulate, "lower+simulate"}, {Phase::whole, "whole"}};
  benchmark::RegisterBenchmark((group + "/" + schedule.name + "/" + names.at(phase) + "/" + std::to_string(ops)).c_str(),
                               [&schedule, ranks, phase, ops](benchmark::State& state) { measure(state, schedule, ranks, phase, ops); })
      ->Unit(benchmark::kMillisecond)
      ->MeasureProcessCPUTime();  // searches use threads
}

/// A search where memory is short, so that it goes on for long.
void search(benchmark::State& state, const Schedule& schedule, std::int32_t ranks, std::int32_t microbatches) {
  ScheduleShape shape;
  shape.ranks = ranks;
  shape.microbatches = microbatches;
  shape.costs = [](const Program& placed) { return stage_costs(parse_cost_list("F=10,I=12,W=8"), placed); };
  shape.cluster = uniform_cluster(ranks, {500 * kMicrosecond, 0});
  for (auto _ : state) benchmark::DoNotOptimize(generate(schedule, shape));
}

const bool registered = [] {
  for (const Schedule& schedule : schedules()) {
    if (!schedule.searched) continue;
    for (const auto& [ranks, microbatches] : {std::pair{4, 8}, {8, 32}, {16, 64}}) {
      benchmark::RegisterBenchmark(("search/" + schedule.name + "/" + std::to_string(ranks) + "x" + std::to_string(microbatches)).c_str(),
                                   [&schedule, ranks = ranks, microbatches = microbatches](benchmark::State& state) { search(state, schedule, ranks, microbatches); })
          ->Unit(benchmark::kMillisecond)
          ->MeasureProcessCPUTime();
    }
  }
  for (const Schedule& schedule : schedules()) {
    for (const Phase phase : {Phase::generate, Phase::lower, Phase::simulate, Phase::whole}) add("schedule", schedule, schedule.searched ? kFewRanks : kManyRanks, phase, 1'000'000);
  }
  for (const char* name : {"1f1b", "interleaved-1f1b", "zbv", "dualpipe", "v-half", "ppll"}) {
    for (const Phase phase : {Phase::simulate, Phase::lower_and_simulate, Phase::whole}) {
      for (const std::int64_t ops : {10'000, 100'000, 1'000'000, 10'000'000}) add("size", find_schedule(name), kFewRanks, phase, ops);
    }
  }
  return true;
}();

}  // namespace
}  // namespace bubblescope
