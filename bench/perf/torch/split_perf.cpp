// Split backward against the full one: what F, I and W take and hold beside F and B, on one stage of a real
// model.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <vector>

#include "backend/clock.hpp"
#include "backend/cores.hpp"
#include "backend/torch/device.hpp"
#include "sim/core/psched.hpp"
#include "sim/core/quartiles.hpp"
#include "sim/workload/models.hpp"
#include "sim/workload/partition.hpp"

namespace bubblescope {
namespace {

constexpr Stage kStage = 1;  // of three

TorchConfig configuration(const char* model) {
  TorchConfig config;
  config.model.name = model;
  config.model.depth = 6;
  config.cuts = partition(build_model(config.model), 3, "flops");
  config.data = std::make_shared<DataSet>(generate_data_set({.samples = 64, .test_samples = 1}));
  config.batch = config.microbatch = 16;
  return config;
}

Op op_of(Kind kind, Microbatch microbatch) {
  Op op;
  op.kind = kind;
  op.stage = kStage;
  op.microbatch = microbatch;
  return op;
}

double median(std::vector<double> values) { return fraction_quartiles(std::move(values)).median; }

/// Microbatch 0 with B, microbatch 1 with I and W, in turns on one core, 30 times each. The time is that of
/// I + W (median); counters have every op's median in microseconds, the median of (I + W) / B and of
/// F / F pair by pair, and the bytes that the split microbatch holds after each of its ops.
void split_over_full_backward(benchmark::State& state, const char* model) {
  pin_thread(std::vector<int>{0});
  const Program program = from_psched("#psched 1\n0F0,0B0,0F1,0I1,0W1,0U\n1F0,1B0,1F1,1I1,1W1,1U\n2F0,2B0,2F1,2I1,2W1,2U\n", model);
  const auto device = torch_backend(configuration(model))->device(kStage, program);
  std::map<std::string, std::vector<double>> times;
  std::map<std::string, double> bytes;
  const auto run = [&](Kind kind, Microbatch microbatch) {
    const Nanos start = steady_now();
    device->execute(op_of(kind, microbatch));
    return static_cast<double>(steady_now() - start) * 1e-3;
  };
  for (auto _ : state) {
    for (int pair = 0; pair < 31; ++pair) {
      std::map<std::string, double> now;
      for (const Microbatch microbatch : {0, 1}) {
        const std::string f = microbatch == 0 ? "F" : "F_split";
        const auto held = static_cast<double>(device->memory().now);
        const auto holds = [&](const char* after) { bytes[after] = static_cast<double>(device->memory().now) - held; };
        device->input(op_of(Kind::RECV_F, microbatch), device->example(op_of(Kind::RECV_F, microbatch)));
        now[f] = run(Kind::F, microbatch);
        device->output(op_of(Kind::SEND_F, microbatch));
        holds(microbatch == 0 ? "bytes_after_F_full" : "bytes_after_F");
        device->input(op_of(Kind::RECV_B, microbatch), device->example(op_of(Kind::RECV_B, microbatch)));
        now[microbatch == 0 ? "B" : "I"] = run(microbatch == 0 ? Kind::B : Kind::I, microbatch);
        device->output(op_of(Kind::SEND_B, microbatch));
        if (microbatch == 0) continue;
        holds("bytes_after_I");
        now["W"] = run(Kind::W, microbatch);
        holds("bytes_after_W");
      }
      if (pair == 0) continue;  // memory is asked for
      now["I_and_W_over_B"] = (now["I"] + now["W"]) / now["B"];
      now["F_split_over_F"] = now["F_split"] / now["F"];
      now["I_and_W"] = now["I"] + now["W"];
      for (const auto& [name, value] : now) times[name].push_back(value);
    }
    state.SetIterationTime(median(times["I_and_W"]) * 1e-6);
  }
  for (const auto& [name, values] : times) state.counters[name] = median(values);
  for (const auto& [name, value] : bytes) state.counters[name] = value;
}
BENCHMARK_CAPTURE(split_over_full_backward, resnet32, "resnet32")->UseManualTime()->Iterations(1)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(split_over_full_backward, vit, "vit")->UseManualTime()->Iterations(1)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(split_over_full_backward, mlp, "mlp")->UseManualTime()->Iterations(1)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace bubblescope
