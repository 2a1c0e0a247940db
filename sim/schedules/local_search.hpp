// Improves an order by small moves: simulated annealing over swaps on critical paths and short shifts.
#pragma once

#include <cstdint>

#include "sim/schedules/pipeline_problem.hpp"

namespace bubblescope {

/// What a search minimises: makespan and span alike.
inline Nanos objective(const OrderTime& time) { return time.makespan + time.span; }

/// Anneals `rows`, which must be feasible, for `rounds` moves, and returns the best order met (no worse than
/// `rows`). Stops where `bound` is reached. The same seed gives the same result.
RowOrder improve_order(const PipelineProblem& problem, RowOrder rows, const OrderTime& bound, std::int64_t rounds, std::uint64_t seed,
                       double temperature);

}  // namespace bubblescope
