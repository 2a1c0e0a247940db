// The search behind the schedules whose order depends on the costs: candidates from list scheduling under many
// policies, steady patterns among them, the best annealed. The same request gives the same order, and how long
// it looks is counted in ops, not by a clock.
#pragma once

#include <vector>

#include "sim/schedules/pipeline_problem.hpp"

namespace bubblescope {

/// What the help says that orders are held against (`lower_bound`).
inline constexpr const char* kSearchBound =
    "; held against a lower bound: per rank its work and the idle time that its memory limit forces, for the makespan after the chain of forwards to it";

/// The best order found for `problem`, every rank within its limit: smallest makespan + span.
/// Throws std::invalid_argument where a limit is below `chunks`: nothing could run.
RowOrder search_order(const PipelineProblem& problem);

/// The Program of a searched schedule: `placement` gives the stages' ranks, `limit` the most stage activations
/// per rank. Throws ShapeError where the limit is below the chunks of a rank.
Program searched_program(const Schedule& schedule, const ScheduleShape& shape, std::vector<Rank> placement, std::vector<std::int32_t> limit);

/// `memory-limit`: stage activations of a rank in parts of 1F1B's p microbatches.
ScheduleOption memory_limit_option();
/// floor(limit * p * chunks).
std::int32_t memory_limit(const Schedule& schedule, const ScheduleShape& shape, std::int32_t chunks);

}  // namespace bubblescope
