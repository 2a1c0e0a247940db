// The LibTorch backends of the programs that have them: scenarios become LibTorch configurations.
#include "bench/torch_backend.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <limits>

#include "backend/torch/config.hpp"
#include "backend/torch/training.hpp"
#include "bench/job.hpp"
#include "bench/progress.hpp"
#include "bench/summary.hpp"
#include "bench/torch/devices.hpp"
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
  config.clip_norm = training.clip_norm;
  config.seed = scenario.seed;
  config.threads = static_cast<std::int32_t>(scenario.backend.threads);
  config.precision = training.precision;
  config.deterministic = training.deterministic;
  config.data = std::move(data);
  const std::int64_t updates = updates_per_iteration(experiment.program);
  config.rate.warmup = updates * iterations_of_epochs(config, experiment.program, training.warmup_epochs);
  config.rate.total = updates * iterations_of_epochs(config, experiment.program, std::max<std::int64_t>(1, training.epochs));
  return config;
}

}  // namespace

MakeBackend torch_backend_of(const Scenario& scenario) {
  return [&scenario, data = load_data(scenario)](const Experiment& experiment) { return make_backend(scenario, torch_config(scenario, experiment, data)); };
}

Trained train_with_torch(const Scenario& scenario, const Experiment& experiment, const TrainRequest& request) {
  const TorchConfig config = torch_config(scenario, experiment, load_data(scenario));
  const auto backend = make_backend(scenario, config);
  const auto cores = rank_cores(scenario, request.world).pinned;
  Ranks ranks(*backend, experiment.program, cores, request.world);
  const bool first = request.world == nullptr || request.world->first();
  TrainOptions options;
  options.epochs = scenario.training.epochs;
  options.checkpoint = request.checkpoint;
  options.checkpoint_every = scenario.training.checkpoint_every;
  options.resume = request.resume;
  options.cores = cores;
  options.stop = request.stop;
  const std::string& label = experiment.config.label;
  Trained result;
  result.planned = iterations_of_epochs(config, experiment.program, scenario.training.epochs);
  const auto keep = [&](const TrainingLog& log, const std::string& status) {
    if (first) write_training_log(log, label, status, result.planned, request.log);
  };
  Progress progress(label, result.planned);
  if (first) options.progress = [&](std::int64_t) { progress.advance(); };
  options.epoch_done = [&](const TrainingLog& log) {
    const EpochResult& epoch = log.epochs.back();
    progress.done();
    // The training is worth more than its log; whether that is there in the end is told then.
    try {
      keep(log, "running");
    } catch (const RunError& error) {
      fmt::print(stderr, "bubblescope: {}: {}; the training goes on\n", label, error.what());
    }
    if (request.epoch_done) {
      request.epoch_done(fmt::format("{}: epoch {} (iteration {}): loss {:.4f}, test loss {:.4f}, test accuracy {}", label, epoch.epoch, epoch.iteration, epoch.loss,
                                     epoch.test.loss, percent(epoch.test.accuracy)));
    }
  };
  const TrainingLog log = train(experiment.program, ranks, config, options);
  progress.done();
  result.status = !log.failure.empty() ? "failed" : log.stopped ? "interrupted" : "complete";
  result.failure = log.failure;
  result.iterations = log.iterations;
  result.loss = result.test_loss = result.test_accuracy = std::numeric_limits<double>::quiet_NaN();
  if (!log.epochs.empty()) {
    result.loss = log.epochs.back().loss;
    result.test_loss = log.epochs.back().test.loss;
    result.test_accuracy = log.epochs.back().test.accuracy;
  }
  try {
    keep(log, result.status);
  } catch (const RunError& error) {
    result.failure += (result.failure.empty() ? "" : "; ") + std::string(error.what());
  }
  return result;
}

}  // namespace bubblescope
