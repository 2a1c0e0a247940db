// Memory of every rank over time, from any Timeline whose spans name their ops.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/core/costs.hpp"
#include "sim/core/program.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {

/// What a rank's memory consists of at its peak.
struct MemoryParts {
  std::int64_t weights = 0;
  std::int64_t gradients = 0;
  std::int64_t optimizer = 0;
  std::int64_t auxiliary = 0;    ///< weights, gradients and optimizer state of auxiliary networks
  std::int64_t versions = 0;     ///< older weights that backwards under way still need
  std::int64_t activations = 0;  ///< allocated at F, partly freed at I, rest at W, B or LB; where R runs the
                                 ///< forward again, only its input from F to R
  std::int64_t queue = 0;        ///< entries in flight towards this rank, receive buffers
  std::int64_t total() const {
    return weights + gradients + optimizer + auxiliary + versions + activations + queue;
  }
};

struct RankMemory {
  std::vector<MemorySample> samples;
  std::int64_t peak_bytes = 0;
  MemoryParts at_peak;
  std::int32_t peak_activations = 0;  ///< stage activations alive: start of F to end of W, B or LB
};

/// Memory per rank. At equal times freeing comes before allocating.
std::vector<RankMemory> memory_over_time(const Program& program, const Timeline& timeline,
                                         const StageCosts& costs);

}  // namespace bubblescope
