// Training for real: iterations through the executor, evaluation, checkpoints. Needs no LibTorch to
// be included.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "backend/executor.hpp"
#include "backend/torch/config.hpp"

namespace bubblescope {

/// How good a model is on the test part, batch norm using running statistics.
struct Evaluation {
  double loss = 0;      ///< mean cross-entropy
  double accuracy = 0;  ///< share of samples
  /// Accuracy of every stage's auxiliary head by stage; NaN where it gives no class scores, and for
  /// the last stage, whose scores are the model's. Empty for Programs without local losses.
  std::vector<double> auxiliary_accuracy;
};

/// Evaluates the whole model, stage after stage; the ranks share the test batches among them. The
/// result does not depend on their number, nor on how many processes they are in.
Evaluation evaluate(Ranks& ranks, const TorchConfig& config);

struct EpochResult {
  std::int64_t epoch = 0;      ///< counted from 1
  std::int64_t iteration = 0;  ///< iterations completed
  double loss = 0;             ///< mean of the epoch's iterations
  Evaluation test;
};

struct TrainingLog {
  std::vector<double> losses;        ///< per iteration from the first: mean of the last stage's losses
  std::vector<EpochResult> epochs;   ///< likewise
  std::int64_t iterations = 0;       ///< completed, those before a resume included
  bool stopped = false;
  std::string failure;               ///< why it could not go on (rank, op, iteration, loss), or empty
};

struct TrainOptions {
  std::int64_t epochs = 1;
  std::filesystem::path checkpoint{};  ///< empty: none is written
  std::int64_t checkpoint_every = 0;   ///< epochs; 0: only at the end or when stopped
  bool resume = false;                 ///< go on from `checkpoint`
  std::vector<std::vector<int>> cores{}; ///< as in ExecuteOptions
  const std::atomic<bool>* stop = nullptr;  ///< set: finish the iteration, write the checkpoint, return
  std::function<void(std::int64_t iteration)> progress{};  ///< after every iteration
  std::function<void(const TrainingLog&)> epoch_done{};  ///< with that epoch as the last one
};

/// Updates of the first stage in an iteration; all stages have as many.
std::int64_t updates_per_iteration(const Program& program);

/// Iterations of `program` that `epochs` epochs take, rounded up.
std::int64_t iterations_of_epochs(const TorchConfig& config, const Program& program, std::int64_t epochs);

/// Trains on `ranks`, made by `torch_backend(config)` for `program` (with communication). A run that
/// was stopped and resumed ends bit-identical to one that was not. Where an op fails (a loss that is
/// not a number) the log says so and holds what was trained until then; the last checkpoint stays as it
/// was. A checkpoint that cannot be written is a failure in the log, too. Throws InputError where the one to
/// resume from is unusable or of another run. Over processes every one of them calls this; the checkpoint is the
/// first one's, and the log is the same in all of them. Throws LostError where one is lost, and what only this one has met: then
/// the others are to be told (World::end_early).
TrainingLog train(const Program& program, Ranks& ranks, const TorchConfig& config, const TrainOptions& options);

}  // namespace bubblescope
