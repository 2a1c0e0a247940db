// Executor over bare LibTorch: the same training of a small network written with LibTorch alone, and as
// a Program on one rank, where nothing is waited for. The difference per op is what executing costs.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <c10/core/AutogradState.h>
#include <torch/torch.h>

#include <algorithm>
#include <vector>

#include "backend/clock.hpp"
#include "backend/cores.hpp"
#include "backend/executor.hpp"
#include "backend/torch/batches.hpp"
#include "backend/torch/config.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

constexpr std::int32_t kIterations = 50, kMicrobatches = 8;
constexpr std::int64_t kSamples = 8;  // per microbatch

TorchConfig configuration() {
  TorchConfig config;
  config.model.name = "mlp";
  config.model.image = {3, 8, 8};
  config.model.depth = 3;
  config.model.width = 64;
  config.data = std::make_shared<DataSet>(generate_data_set({.samples = 512, .test_samples = 1, .image = {3, 8, 8}}));
  config.batch = kMicrobatches * kSamples;
  config.microbatch = kSamples;
  config.rate.base = 0.01;
  config.deterministic = false;
  return config;
}

/// 17 ops per iteration: 8 forwards, 8 backwards, an update.
Program one_rank() {
  ScheduleShape shape;
  shape.ranks = 1;
  shape.microbatches = kMicrobatches;
  return generate(find_schedule("naive"), shape);
}

/// The same with LibTorch alone.
class BareTraining {
 public:
  BareTraining() : batches_(config_.data, {.batch = config_.batch, .microbatch = kSamples, .microbatches = kMicrobatches}) {}

  void iterations(std::int32_t count) {
    for (const std::int64_t last = iteration_ + count; iteration_ < last; ++iteration_) {
      for (std::int32_t m = 0; m < kMicrobatches; ++m) {
        const Batch batch = batches_.batch(iteration_, m);
        const torch::Tensor loss = torch::nn::functional::cross_entropy(network_->forward(batch.images), batch.labels);
        benchmark::DoNotOptimize(loss.item<double>());
        loss.backward(torch::full_like(loss, 1.0 / kMicrobatches));
      }
      step();
    }
  }

 private:
  /// As torch.optim.SGD with `fused=True`.
  void step() {
    const torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> gradients;
    for (const torch::Tensor& p : parameters_) gradients.push_back(p.grad());
    const bool first = momenta_.empty();
    if (first) {
      for (const torch::Tensor& p : parameters_) momenta_.push_back(torch::empty_like(p));
    }
    at::_fused_sgd_(parameters_, gradients, momenta_, 1e-4, 0.9, 0.01, 0, /*nesterov=*/true, false, first);
    for (torch::Tensor& p : parameters_) p.mutable_grad() = torch::Tensor();
  }

  TorchConfig config_ = configuration();
  Batches batches_;
  torch::nn::Sequential network_{torch::nn::Flatten(), torch::nn::Linear(192, 64), torch::nn::ReLU(), torch::nn::Linear(64, 64), torch::nn::ReLU(),
                                 torch::nn::Linear(64, 64), torch::nn::ReLU(), torch::nn::Linear(64, 10)};
  std::vector<torch::Tensor> parameters_ = network_->parameters(), momenta_;
  std::int64_t iteration_ = 0;
};

double quantile(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
}

/// Time per op of some iterations.
double time_of(BareTraining& bare, double ops) {
  const Nanos start = steady_now();
  bare.iterations(kIterations);
  return static_cast<double>(steady_now() - start) / ops;
}

/// Both on one core and in turns, 50 iterations each, so that a drifting machine slows both down. The
/// time is the executor's per op (median); the counters have the bare one and the quartiles of the
/// difference, which is below zero where the machine's drift is larger than it. The backend counts what
/// LibTorch allocates, process-wide, so the bare one is timed before it is made, too.
void executor_over_bare_libtorch(benchmark::State& state) {
  pin_thread(std::vector<int>{0});
  at::set_num_threads(1);
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
  BareTraining bare;
  const Program program = one_rank();
  const double ops = static_cast<double>(kIterations) * static_cast<double>(program.op_count());
  static const std::vector<double> uncounted = [&] {
    std::vector<double> times;
    for (int run = 0; run < 20; ++run) times.push_back(time_of(bare, ops));
    return times;
  }();
  const auto backend = torch_backend(configuration());
  Ranks ranks(*backend, program, {{0}});
  ExecuteOptions options;
  options.iterations = kIterations;
  std::vector<double> differences, bare_times, executor_times;
  for (auto _ : state) {
    for (int pair = 0; pair < 40; ++pair) {
      const double alone = time_of(bare, ops);
      const Nanos between = steady_now();
      options.first_iteration = execute(program, ranks, options).next_iteration;
      const Nanos end = steady_now();
      if (pair == 0) continue;  // memory is asked for
      bare_times.push_back(alone);
      executor_times.push_back(static_cast<double>(end - between) / ops);
      differences.push_back(executor_times.back() - bare_times.back());
    }
    state.SetIterationTime(quantile(executor_times, 0.5) * 1e-9);
  }
  state.counters["overhead_per_op_ns"] = quantile(differences, 0.5);
  state.counters["overhead_per_op_q1_ns"] = quantile(differences, 0.25);
  state.counters["overhead_per_op_q3_ns"] = quantile(differences, 0.75);
  state.counters["bare_per_op_ns"] = quantile(bare_times, 0.5);
  state.counters["bare_before_counting_per_op_ns"] = quantile(uncounted, 0.5);
}
BENCHMARK(executor_over_bare_libtorch)->UseManualTime()->Iterations(3)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace bubblescope
