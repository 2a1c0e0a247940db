// Training: epochs of iterations, evaluation after each, checkpoints.
#include "backend/torch/training.hpp"

#include <algorithm>
#include <mutex>
#include <numeric>

#include "backend/torch/batches.hpp"
#include "backend/torch/checkpoint.hpp"
#include "backend/torch/device.hpp"
#include "backend/torch/tensor_bytes.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

namespace {

constexpr const char* kLosses = "log.losses";
constexpr const char* kEpochs = "log.epochs";  // a row for each: kEpochNumbers, then auxiliary accuracies
constexpr std::int64_t kEpochNumbers = 5;

torch::Tensor to_tensor(const std::vector<EpochResult>& epochs) {
  std::vector<double> numbers;
  for (const EpochResult& epoch : epochs) {
    numbers.insert(numbers.end(), {static_cast<double>(epoch.epoch), static_cast<double>(epoch.iteration), epoch.loss, epoch.test.loss, epoch.test.accuracy});
    numbers.insert(numbers.end(), epoch.test.auxiliary_accuracy.begin(), epoch.test.auxiliary_accuracy.end());
  }
  const auto rows = static_cast<std::int64_t>(epochs.size());
  return torch::tensor(numbers, torch::kFloat64).reshape({rows, rows > 0 ? static_cast<std::int64_t>(numbers.size()) / rows : kEpochNumbers});
}

std::vector<EpochResult> to_epochs(const torch::Tensor& tensor) {
  std::vector<EpochResult> epochs;
  if (tensor.dim() != 2 || tensor.size(1) < kEpochNumbers) return epochs;
  const auto* number = tensor.data_ptr<double>();
  for (std::int64_t row = 0; row < tensor.size(0); ++row, number += tensor.size(1)) {
    epochs.push_back({static_cast<std::int64_t>(number[0]), static_cast<std::int64_t>(number[1]), number[2],
                      {number[3], number[4], {number + kEpochNumbers, number + tensor.size(1)}}});
  }
  return epochs;
}

/// Moves the losses of the chains' last stages of the iterations since `log.losses.size()` into the log. Of one that
/// failed in the middle there are not all, so it is left out.
void collect_losses(Ranks& ranks, const Program& program, TrainingLog& log) {
  const ChainLinks links = chain_links(program);
  std::vector<LossRecord> records;
  std::mutex mutex;
  ranks.each([&](Rank, Device& device) {
    const std::vector<LossRecord> mine = dynamic_cast<TorchDevice&>(device).take_losses();
    const std::lock_guard lock(mutex);
    std::copy_if(mine.begin(), mine.end(), std::back_inserter(records),
                 [&](const LossRecord& record) { return links.next[static_cast<std::size_t>(record.stage)] < 0; });
  });
  if (World* const world = ranks.world()) {
    const std::vector<std::string> all = world->gather_all(FieldsOut().add(records).take());
    records.clear();
    for (const std::string& one : all) {
      const auto theirs = FieldsIn(one).get<std::vector<LossRecord>>();
      records.insert(records.end(), theirs.begin(), theirs.end());
    }
  }
  std::stable_sort(records.begin(), records.end(), [](const LossRecord& a, const LossRecord& b) {
    return std::pair(a.iteration, a.microbatch) < std::pair(b.iteration, b.microbatch);
  });
  for (auto first = records.begin(); first != records.end();) {
    const auto last = std::find_if(first, records.end(), [&](const LossRecord& r) { return r.iteration != first->iteration; });
    if (last - first < program.microbatches) break;
    const double sum = std::accumulate(first, last, 0.0, [](double s, const LossRecord& r) { return s + r.loss; });
    log.losses.push_back(sum / static_cast<double>(last - first));
    first = last;
  }
}

/// The first process does it, from what all of them have; a failure is thrown in all of them.
void save(Ranks& ranks, const TrainingLog& log, const std::map<std::string, std::string>& run,
          const std::filesystem::path& file) {
  Checkpoint checkpoint{log.iterations, run, {}};
  std::mutex mutex;
  ranks.each([&](Rank, Device& device) {
    auto state = dynamic_cast<TorchDevice&>(device).state();
    const std::lock_guard lock(mutex);
    checkpoint.tensors.merge(state);
  });
  checkpoint.tensors[kLosses] = torch::tensor(log.losses, torch::kFloat64);
  checkpoint.tensors[kEpochs] = to_tensor(log.epochs);
  World* const world = ranks.world();
  if (world == nullptr) return write_checkpoint(checkpoint, file);
  std::string mine;
  ranks.each([&](Rank rank, Device&) {  // on a rank, so that a failure is everybody's
    if (rank == ranks.own().first && !world->first()) mine = tensors_to_bytes(checkpoint.tensors);
  });
  const std::vector<std::string> all = world->gather(std::move(mine));
  std::string failure;
  if (world->first()) {
    try {
      for (std::size_t p = 1; p < all.size(); ++p) checkpoint.tensors.merge(named_tensors_from_bytes(all[p]));
      write_checkpoint(checkpoint, file);
    } catch (const std::exception& error) {
      failure = error.what();
    }
  }
  failure = world->broadcast(failure);
  if (!failure.empty()) throw CommonError(failure);
}

/// Read by the first process, whose disk it is on.
Checkpoint shared_checkpoint(World* world, const std::map<std::string, std::string>& run, const std::filesystem::path& file) {
  const auto read = [&] {
    Checkpoint checkpoint = read_checkpoint(file);
    require_same_run(checkpoint, run, file);
    return checkpoint;
  };
  if (world == nullptr) return read();
  Checkpoint checkpoint;
  std::string failure;
  if (world->first()) {
    try {
      checkpoint = read();
    } catch (const InputError& error) {
      failure = error.what();
    }
  }
  const std::string told = world->broadcast(FieldsOut().add(failure).add(checkpoint.iteration).add(tensors_to_bytes(checkpoint.tensors)).take());
  FieldsIn fields(told);
  failure = fields.get<std::string>();
  if (!failure.empty()) throw InputError(failure);
  if (world->first()) return checkpoint;
  checkpoint.iteration = fields.get<std::int64_t>();
  checkpoint.tensors = named_tensors_from_bytes(fields.get<std::string>());
  return checkpoint;
}

void restore(Ranks& ranks, TrainingLog& log, const std::map<std::string, std::string>& run,
             const std::filesystem::path& file) {
  const Checkpoint checkpoint = shared_checkpoint(ranks.world(), run, file);
  try {
    ranks.each([&](Rank, Device& device) { dynamic_cast<TorchDevice&>(device).load(checkpoint.tensors); });
  } catch (const InputError& error) {
    throw InputError(file.string() + ": " + error.what());
  }
  log.iterations = checkpoint.iteration;
  if (const auto losses = checkpoint.tensors.find(kLosses); losses != checkpoint.tensors.end()) {
    const auto* first = losses->second.data_ptr<double>();
    log.losses.assign(first, first + losses->second.numel());
  }
  if (const auto epochs = checkpoint.tensors.find(kEpochs); epochs != checkpoint.tensors.end()) log.epochs = to_epochs(epochs->second);
}

/// Whether `work` came to its end; otherwise the log says why not. Over processes only what all of them throw gets there: who
/// throws alone has left the others waiting.
bool attempt(const World* world, TrainingLog& log, const std::function<void()>& work) {
  try {
    work();
    return true;
  } catch (const InputError&) {
    throw;
  } catch (const LostError&) {
    throw;
  } catch (const std::exception& error) {
    if (world != nullptr && dynamic_cast<const CommonError*>(&error) == nullptr) throw;
    log.failure = error.what();
    return false;
  }
}

double mean_from(const std::vector<double>& values, std::size_t first) {
  if (first >= values.size()) return 0;
  return std::accumulate(values.begin() + static_cast<std::ptrdiff_t>(first), values.end(), 0.0) /
         static_cast<double>(values.size() - first);
}

}  // namespace

std::int64_t updates_per_iteration(const Program& program) {
  std::int64_t updates = 0;
  for (const auto& row : program.rows) {
    for (const Op& op : row) {
      for (const Op& part : program.parts_of(op)) updates += part.kind == Kind::U && part.stage == 0;
    }
  }
  return updates / std::max(1, program.iterations);
}

std::int64_t iterations_of_epochs(const TorchConfig& config, const Program& program, std::int64_t epochs) {
  const std::int64_t samples = config.data->train.count() / config.batch * config.batch * epochs;
  const std::int64_t per_iteration = config.microbatch * program.microbatches;
  return (samples + per_iteration - 1) / per_iteration;
}

TrainingLog train(const Program& program, Ranks& ranks, const TorchConfig& config, const TrainOptions& options) {
  const std::map<std::string, std::string> run = describe_run(config, program);
  TrainingLog log;
  if (options.resume) restore(ranks, log, run, options.checkpoint);
  const bool saves = !options.checkpoint.empty();
  bool saved = false;
  for (std::int64_t epoch = 1; epoch <= options.epochs && !log.stopped; ++epoch) {
    const std::int64_t first = iterations_of_epochs(config, program, epoch - 1);
    const std::int64_t last = iterations_of_epochs(config, program, epoch);
    if (last <= log.iterations) continue;
    ExecuteOptions execution;
    execution.iterations = static_cast<std::int32_t>(last - log.iterations);
    execution.first_iteration = static_cast<std::int32_t>(log.iterations);
    execution.cores = options.cores;
    execution.record = false;
    execution.stop = options.stop;
    execution.progress = options.progress;
    const bool executed = attempt(ranks.world(), log, [&] {
      const Execution done = execute(program, ranks, execution);
      log.iterations += done.iterations_done;
      log.stopped = done.stopped;
    });
    collect_losses(ranks, program, log);
    if (!executed) {
      log.iterations = static_cast<std::int64_t>(log.losses.size());
      return log;
    }
    saved = false;
    if (log.iterations < last) break;
    const bool kept = attempt(ranks.world(), log, [&] {
      const EpochResult result{epoch, log.iterations, mean_from(log.losses, static_cast<std::size_t>(first)), evaluate(ranks, config)};
      log.epochs.push_back(result);
      if (!saves || options.checkpoint_every <= 0 || epoch % options.checkpoint_every != 0) return;
      save(ranks, log, run, options.checkpoint);
      saved = true;
    });
    if (!kept) return log;
    if (options.epoch_done) options.epoch_done(log);
  }
  if (saves && !saved) attempt(ranks.world(), log, [&] { save(ranks, log, run, options.checkpoint); });
  return log;
}

}  // namespace bubblescope
