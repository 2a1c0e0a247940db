// The CPU backend of the program with LibTorch: scenarios become LibTorch configurations.
#include "bench/cpu_backend.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "backend/torch/config.hpp"
#include "backend/torch/training.hpp"
#include "bench/progress.hpp"
#include "bench/summary.hpp"
#include "bench/torch/training_log.hpp"
#include "analysis/report.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

std::shared_ptr<const DataSet> load_data(const Scenario& scenario) {
  DataSource source;
  source.set = scenario.data.set;
  source.path = scenario.data.path;
  source.samples = scenario.data.samples;
  source.test_samples = scenario.data.test_samples;
  source.classes = scenario.model.classes;
  for (std::size_t i = 0; i < 3; ++i) source.image[i] = scenario.model.image[i];
  source.seed = scenario.seed;
  return load_data_set(source);
}

TorchConfig torch_config(const Scenario& scenario, const Experiment& experiment, std::shared_ptr<const DataSet> data) {
  const TrainingConfig& training = scenario.training;
  TorchConfig config;
  config.model = model_spec(scenario.model);
  config.auxiliary = auxiliary_spec(scenario.auxiliary);
  config.cuts.assign(experiment.cuts.begin(), experiment.cuts.end());
  config.augment = scenario.data.augment;
  config.batch = training.batch;
  config.microbatch = experiment.samples;
  config.optimizer.name = training.optimizer;
  config.optimizer.momentum = training.momentum;
  config.optimizer.nesterov = training.nesterov;
  config.optimizer.weight_decay = training.weight_decay;
  config.rate.schedule = training.schedule;
  config.rate.base = training.learning_rate;
  const std::int64_t steps_per_epoch = std::max<std::int64_t>(1, data->train.count() / (training.batch * training.accumulate));
  config.rate.warmup = training.warmup_epochs * steps_per_epoch;
  config.rate.total = std::max<std::int64_t>(1, training.epochs) * steps_per_epoch;
  config.clip_norm = training.clip_norm;
  config.seed = scenario.seed;
  config.threads = static_cast<std::int32_t>(scenario.backend.threads);
  config.precision = training.precision;
  config.deterministic = training.deterministic;
  config.data = std::move(data);
  return config;
}

}  // namespace

void need_torch(const std::vector<std::string>&) {}

MakeBackend cpu_backend(const Scenario& scenario) {
  return [&scenario, data = load_data(scenario)](const Experiment& experiment) { return torch_backend(torch_config(scenario, experiment, data)); };
}

int train_on_cpu(const Scenario& scenario, const Experiment& experiment, const TrainRequest& request) {
  const TorchConfig config = torch_config(scenario, experiment, load_data(scenario));
  const auto backend = torch_backend(config);
  const auto cores = resolve_cores(scenario);
  Ranks ranks(*backend, experiment.program, cores);
  TrainOptions options;
  options.epochs = scenario.training.epochs;
  options.checkpoint = request.checkpoint;
  options.checkpoint_every = scenario.training.checkpoint_every;
  options.resume = request.resume;
  options.cores = cores;
  options.stop = request.stop;
  const std::string& label = experiment.config.label;
  const std::int64_t planned = iterations_of_epochs(config, experiment.program, scenario.training.epochs);
  const auto keep = [&](const TrainingLog& log, const char* status) { write_training_log(log, label, status, planned, request.log); };
  Progress progress(label, planned);
  options.progress = [&](std::int64_t) { progress.advance(); };
  options.epoch_done = [&](const TrainingLog& log) {
    const EpochResult& epoch = log.epochs.back();
    keep(log, "running");
    progress.done();
    fmt::print("{}: epoch {} (iteration {}): loss {:.4f}, test loss {:.4f}, test accuracy {}\n", label, epoch.epoch, epoch.iteration, epoch.loss, epoch.test.loss,
               percent(epoch.test.accuracy));
    std::fflush(stdout);
  };
  const TrainingLog log = train(experiment.program, ranks, config, options);
  progress.done();
  keep(log, !log.failure.empty() ? "failed" : log.stopped ? "interrupted" : "complete");
  if (!log.failure.empty()) {
    throw RunError(fmt::format("{}: {}; the losses of {} iterations are in {}, and a checkpoint written before stays as it was", label, log.failure, log.iterations, request.log.string()));
  }
  if (log.stopped) {
    fmt::print("{}: interrupted after {} of {} iterations; the checkpoint is {}: go on with --resume\n", label, log.iterations, planned, request.checkpoint.string());
    return 1;
  }
  fmt::print("{}: trained {} iterations; checkpoint {}\n", label, log.iterations, request.checkpoint.string());
  return 0;
}

}  // namespace bubblescope
