// The pass for bidirectional schedules: every chain is a whole copy of the model, and copies of a stage add
// up their gradients before they update.
#pragma once

#include "sim/core/program.hpp"

namespace bubblescope {

/// Adds, to a Program of several chains, one ALLREDUCE per stage and iteration, right before the flush
/// (the SYNC, where there is one, and the updates). On every rank they stand in ascending position in
/// the chain, so all ranks meet in one order. A Program of one chain, without updates, or that
/// has such ops already, is returned as it is. Throws InputError where weights are not updated at a flush.
Program add_copy_reduction(const Program& program);

}  // namespace bubblescope
