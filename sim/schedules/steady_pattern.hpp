// Steady states of a pipeline: cyclic orders of the ranks in which every rank is busy all the time (or idles a
// chosen part) and microbatches spend little time, and so little memory, between their ops.
#pragma once

#include <vector>

#include "sim/schedules/pipeline_problem.hpp"

namespace bubblescope {

/// One op of every code per rank and period; microbatch j runs one period after microbatch j - 1.
struct SteadyPattern {
  Nanos period = 0;
  std::vector<Nanos> start;  ///< [rank * codes + code] -> start for microbatch 0
  std::vector<std::int32_t> peak;        ///< [rank] -> activations alive in the steady state
  std::vector<std::int32_t> chunk_peak;  ///< [rank * chunks + chunk] -> the same per chunk
};

/// The pattern of shortest waits for the period: every rank takes one of the cyclic orders of its ops, and the
/// way from rank to rank is a shortest path over pairs of orders. `hold` weighs the time from I to W.
/// For placements in which stages that follow each other lie on one rank or on neighbours.
SteadyPattern steady_pattern(const PipelineProblem& problem, Nanos period, double hold);

/// The order that follows the pattern from the first microbatch to the last, the ops of a code `shift` periods
/// later (earlier where negative). Whether it keeps dependencies and limits is the caller's to check.
RowOrder pattern_order(const PipelineProblem& problem, const SteadyPattern& pattern, const std::vector<std::int32_t>& shift);

}  // namespace bubblescope
