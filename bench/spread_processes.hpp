// Many independent pieces of work over the processes of a job.
#pragma once

#include "backend/world.hpp"
#include "bench/spread.hpp"

namespace bubblescope {

/// The first process hands out runs of pieces, long ones first, and does some itself; each process spreads its run over
/// its threads. The first process gets the results, the others none. Every process calls it, with work that gives the
/// same results anywhere. Where any of them is told to stop, or one is lost, all stop after the pieces that they have begun.
/// An error of a piece is thrown in the first process, of the kind that it was (InputError or RunError), and the others end
/// as if all were done; where one is lost they throw LostError. `world` must outlive this.
Spread spread_over_processes(World& world);

}  // namespace bubblescope
