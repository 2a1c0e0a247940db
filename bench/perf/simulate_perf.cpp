// How fast prediction is: 1F1B on 64 ranks with sends and receives, about a million lowered ops.
#include <benchmark/benchmark.h>

#include "sim/core/cost_list.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

constexpr int kRanks = 64;

Program one_f_one_b(std::int64_t ops) {
  // A rank has F, B, two sends and two receives per microbatch.
  return generate(find_schedule("1f1b"), {kRanks, static_cast<std::int32_t>(ops / (6 * kRanks))});
}

StageCosts costs_of(const Program& program) { return stage_costs(parse_cost_list("F=1,B=2"), program); }

void simulate_lowered(benchmark::State& state) {
  const Program program = add_send_recv(one_f_one_b(state.range(0)));
  const StageCosts costs = costs_of(program);
  const Cluster cluster = uniform_cluster(kRanks, {10 * kMicrosecond, 0});
  for (auto _ : state) benchmark::DoNotOptimize(simulate(program, costs, cluster));
  state.counters["ops"] = static_cast<double>(program.op_count());
  state.counters["ops/s"] = benchmark::Counter(static_cast<double>(program.op_count()), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(simulate_lowered)->RangeMultiplier(10)->Range(10'000, 1'000'000)->Unit(benchmark::kMillisecond);

void generate_lower_and_simulate(benchmark::State& state) {
  const Cluster cluster = uniform_cluster(kRanks, {10 * kMicrosecond, 0});
  for (auto _ : state) {
    const Program program = add_send_recv(one_f_one_b(state.range(0)));
    benchmark::DoNotOptimize(simulate(program, costs_of(program), cluster));
  }
}
BENCHMARK(generate_lower_and_simulate)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

void simulate_by_events(benchmark::State& state) {
  const Program program = add_send_recv(one_f_one_b(state.range(0)));
  const StageCosts costs = costs_of(program);
  const Cluster cluster = uniform_cluster(kRanks, {10 * kMicrosecond, 0});
  for (auto _ : state) benchmark::DoNotOptimize(simulate(program, costs, cluster, {Engine::events}));
}
BENCHMARK(simulate_by_events)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace bubblescope
