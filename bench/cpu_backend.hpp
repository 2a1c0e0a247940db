// The CPU backend as the program sees it. Two programs are built from the same commands: `bubblescope`
// has no LibTorch in it and becomes `bubblescope-torch` (by exec) where the CPU backend is asked for.
#pragma once

#include <atomic>
#include <filesystem>
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
};

/// Trains the experiment for the scenario's epochs, prints a line per epoch, writes checkpoints.
/// Returns the exit code.
int train_on_cpu(const Scenario& scenario, const Experiment& experiment, const TrainRequest& request);

}  // namespace bubblescope
