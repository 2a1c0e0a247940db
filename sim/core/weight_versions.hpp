// Which version of the weights every microbatch meets: version v is what a stage's first v updates made.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/core/program.hpp"

namespace bubblescope {

/// A microbatch at one stage.
struct VersionUse {
  std::int32_t iteration = 0;
  Microbatch microbatch = 0;
  std::int32_t forward = 0;   ///< version its F reads
  std::int32_t backward = 0;  ///< version at which its gradients are computed: B, I (W the same), LB
  std::int32_t applied = 0;   ///< version that the update changes which takes its gradients; -1: none does
  /// Updates between the weights that the gradient is computed for and those it changes.
  std::int32_t staleness() const { return applied < 0 ? 0 : applied - forward; }
  friend bool operator==(const VersionUse&, const VersionUse&) = default;
};

/// Stage -> its microbatches in the order of their forwards, following the rows and the Program's weight policy:
///   flush, latest    F and its backward read what is there when they run
///   stash            the backward reads what F read
///   double_buffered  F and backward of iteration t read version max(0, t - 1)
/// R reads what its backward reads; the error gradient that comes back is still that of F.
/// For a stream (Program::overlap) in its steady state: of `repeat_iterations`.
std::vector<std::vector<VersionUse>> weight_versions(const Program& program);

/// Stage -> the largest staleness of its microbatches, of a stream in its steady state.
std::vector<std::int32_t> staleness(const Program& program);

}  // namespace bubblescope
