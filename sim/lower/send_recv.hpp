// The pass that puts communication into a Program: where each send and receive stands in its row.
#pragma once

#include "sim/core/program.hpp"

namespace bubblescope {

/// Adds SEND_F, RECV_F, SEND_B, RECV_B to a compute-only Program, by the receive rule of its channel:
///   posted: PyTorch's order. Round by round over the ranks, one compute op each where its inputs
///           have been placed; its SEND follows it, and the RECV goes to the end of the receiver's
///           row at that moment.
///   at_use: SEND right after F (profile local_serial: after the last op of the stage on that
///           microbatch), RECV right before F.
/// Neighbours on one rank need no communication. Throws InputError where a round places nothing
/// (the compute order deadlocks), naming the ops that wait. A Program that already has
/// communication is returned as it is.
Program add_send_recv(const Program& program);

/// Whether any row has a send or a receive.
bool has_communication(const Program& program);

}  // namespace bubblescope
