// The LibTorch backends as the program sees them. Up to three programs are built from the same commands: `bubblescope`
// has no LibTorch in it and becomes (by exec) `bubblescope-torch` where the CPU backend is asked for and
// `bubblescope-cuda` where GPUs are.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/mpi_loader.hpp"
#include "bench/measure.hpp"

namespace bubblescope {

/// Makes sure that this process has the backend of that name: replaces it, unless it is the right program, by
/// the one that has it, with the same arguments, or throws RunError saying what to install. Nothing to do for `null`.
void need_backend(const std::string& name, const std::vector<std::string>& arguments);

/// Of several processes whose ranks are on GPUs: what carries parcels between them, NCCL from GPU to GPU and everything else
/// MPI or, where torchrun has started them, TCP.
std::unique_ptr<Transport> gpu_transport(const Launch& launch);
/// Then, by all of them together: gives each the GPUs that its ranks will be on. Throws InputError where there are too few, or
/// two processes would share one.
void share_gpus(const Scenario& scenario, World& world);

/// Makes LibTorch backends for the scenario's experiments; its data set is loaded once.
MakeBackend torch_backend_of(const Scenario& scenario);

struct TrainRequest {
  std::filesystem::path checkpoint;
  std::filesystem::path log;  ///< losses and evaluations so far, in JSON
  bool resume = false;
  const std::atomic<bool>* stop = nullptr;
  World* world = nullptr;     ///< the processes that share the ranks; the first one writes
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
Trained train_with_torch(const Scenario& scenario, const Experiment& experiment, const TrainRequest& request);

}  // namespace bubblescope
