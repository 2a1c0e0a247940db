// The CPU backend as the program sees it. Two programs are built from the same commands: `bubblescope`
// has no LibTorch in it and becomes `bubblescope-torch` (by exec) where the CPU backend is asked for.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "bench/measure.hpp"

namespace bubblescope {

/// In `bubblescope`: replaces this process by `bubblescope-torch` with the same arguments, or throws
/// RunError saying what to install. In `bubblescope-torch`: nothing.
void need_torch(const std::vector<std::string>& arguments);

/// Makes LibTorch backends for the scenario's experiments; its data set is loaded once.
MakeBackend cpu_backend(const Scenario& scenario);

struct TrainRequest {
  std::filesystem::path checkpoint;
  std::filesystem::path log;  ///< losses and evaluations so far, in JSON
  bool resume = false;
  const std::atomic<bool>* stop = nullptr;
  std::function<void(const std::string& line)> epoch_done;  ///< called with a line about every epoch
};

/// How a training ended.
struct Trained {
  std::string status;  ///< complete, interrupted, failed
  std::string failure; ///< why, where it failed
  std::int64_t iterations = 0;
  std::int64_t planned = 0;  ///< iterations
  double loss = 0;           ///< of the newest epoch, like what follows; NaN before the first
  double test_loss = 0;
  double test_accuracy = 0;
};

/// Trains the experiment for the scenario's epochs, writes checkpoints and the log.
Trained train_on_cpu(const Scenario& scenario, const Experiment& experiment, const TrainRequest& request);

}  // namespace bubblescope
