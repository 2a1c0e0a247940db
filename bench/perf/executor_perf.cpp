// Executor: time per op over a bare device call where nothing is waited for, and hand-overs between two
// ranks, wake-up included.
#include <benchmark/benchmark.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "backend/clock.hpp"
#include "backend/executor.hpp"
#include "backend/handover.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

/// Ops take no time at all; what is left is the executor.
class InstantDevice : public Device {
 public:
  void execute(const Op& op) override { benchmark::DoNotOptimize(op.microbatch); }
  Payload output(const Op&) override { return {message_, 8}; }
  void input(const Op&, Payload payload) override { benchmark::DoNotOptimize(payload.bytes); }
  Payload example(const Op&) override { return {message_, 8}; }

 private:
  std::shared_ptr<void> message_ = std::make_shared<int>(0);
};

class InstantBackend : public Backend {
 public:
  std::string name() const override { return "instant"; }
  std::unique_ptr<Device> device(Rank, const Program&) override { return std::make_unique<InstantDevice>(); }
};

Program program_of(const std::string& schedule, std::int32_t ranks, std::map<std::string, std::string> options) {
  ScheduleShape shape;
  shape.ranks = ranks;
  shape.microbatches = 64;
  shape.options = std::move(options);
  return add_send_recv(generate(find_schedule(schedule), shape));
}

/// Ops per second of a whole execution; 1e9 over that is nanoseconds per op.
void time_per_op(benchmark::State& state, const Program& program, bool record) {
  InstantBackend backend;
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.iterations = 50;
  options.record = record;
  for (auto _ : state) execute(program, ranks, options);
  state.SetItemsProcessed(state.iterations() * options.iterations * static_cast<std::int64_t>(program.op_count()));
}

/// One rank: nothing is waited for, ever.
void overhead_per_op(benchmark::State& state) { time_per_op(state, program_of("ppll", 1, {}), state.range(0) != 0); }
BENCHMARK(overhead_per_op)->ArgName("record")->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

/// The same calls without the executor.
void bare_device_calls(benchmark::State& state) {
  const Program program = program_of("ppll", 1, {});
  const std::unique_ptr<Device> device = std::make_unique<InstantDevice>();
  for (auto _ : state) {
    for (const Op& op : program.rows.front()) device->execute(op);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(program.op_count()));
}
BENCHMARK(bare_device_calls);

/// Two ranks that only hand over: compute ops, sends and receives all count as ops.
void two_ranks_with_a_queue(benchmark::State& state) {
  time_per_op(state, program_of("ppll", 2, {{"queue", std::to_string(state.range(0))}}), true);
}
BENCHMARK(two_ranks_with_a_queue)->ArgName("queue")->Arg(0)->Arg(2)->Arg(8)->UseRealTime()->Unit(benchmark::kMillisecond);

/// From the offer of a message to the start of the op that waited for it asleep; and from the last
/// arrival at a barrier until all go on. Medians and quartiles of 500.
void handover(benchmark::State& state) {
  InstantBackend backend;
  const Program program = program_of("ppll", 2, {});
  Ranks ranks(backend, program, {{0}, {1}});
  WaitCosts costs;
  for (auto _ : state) {
    costs = measure_waits(ranks, 500);
    state.SetIterationTime(static_cast<double>(costs.handover.median) * 1e-9);
  }
  state.counters["handover_ns"] = static_cast<double>(costs.handover.median);
  state.counters["handover_q1_ns"] = static_cast<double>(costs.handover.first);
  state.counters["handover_q3_ns"] = static_cast<double>(costs.handover.third);
  state.counters["sync_ns"] = static_cast<double>(costs.sync.median);
}
BENCHMARK(handover)->UseManualTime()->Iterations(3)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace bubblescope
