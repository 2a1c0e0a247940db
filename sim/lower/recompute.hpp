// Activation checkpointing: a pass that lets stages keep only the input of a forward and run it again (R)
// right before its backward. Chen et al., arXiv 1604.06174, with a stage as the piece that is kept or not.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "sim/core/costs.hpp"
#include "sim/core/program.hpp"

namespace bubblescope {

/// The stages that a user means who writes `all`, or numbers separated by colons (`0:2`): their positions in a
/// chain of `count` stages, in all chains of a bidirectional schedule alike. Nothing where nothing is written. Throws
/// ShapeError where a number is beyond the chain (another schedule may have such a stage), else InputError.
std::vector<std::int32_t> recompute_positions(std::string_view stages, std::int64_t count);

/// Every microbatch of the chosen stages gets an R, unless it has one: in the row right before the first op that goes
/// back through the stage (A, whose loss needs the output's graph, else B, I or LB; of a compound before the compound).
/// Receives that stand directly before that op follow the R, which can overlap their arrival. Where iterations
/// overlap an R overlaps as the op that it stands before.
///
/// R reads the weights that its backward reads: the version of F where versions are kept (WeightPolicy::stash,
/// double_buffered), else the newest. Under WeightPolicy::latest the gradient is then that of the newest weights, with
/// the error gradient that comes back still F's: what features replay does, and no longer what the same schedule does
/// without R.
///
/// Expects a program that passes V1. Throws as `recompute_positions`, and ShapeError where the program's profile has
/// no use for it: no backward at all, or the several of interlocking losses, the first right after F.
Program with_recompute(const Program& program, std::string_view stages);

/// The costs by which to search an order for a schedule that will recompute `stages`: their backwards (B, I, LB)
/// take as long as R and backward together. `placed` says where stages are. Throws as `recompute_positions`.
StageCosts with_recompute(StageCosts costs, const Program& placed, std::string_view stages);

}  // namespace bubblescope
