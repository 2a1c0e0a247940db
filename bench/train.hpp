// `bubblescope run --train`: training the scenario's schedules to their end, one after another.
#pragma once

#include <atomic>
#include <filesystem>
#include <vector>

#include "backend/world.hpp"
#include "sim/scenario/build.hpp"

namespace bubblescope {

struct TrainOrder {
  std::filesystem::path folder;  ///< for checkpoints and logs
  bool resume = false;           ///< go on from the checkpoints; a schedule without one begins
  bool json = false;             ///< results on standard output as JSON, instead of lines
  const std::atomic<bool>* stop = nullptr;
  World* world = nullptr;        ///< the processes that share the ranks; the first one writes and prints
};

/// Returns the exit code: 1 where a training was interrupted or failed; those after it do not begin.
int train(const Scenario& scenario, const std::vector<Experiment>& experiments, const TrainOrder& order);

}  // namespace bubblescope
