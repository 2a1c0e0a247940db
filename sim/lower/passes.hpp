// PyTorch's lowering passes over a Program, besides the one that places communication (send_recv.hpp).
// Each returns a new Program. In PyTorch's order: merge_backward where wanted, add_unshard_reshard,
// add_reduce_grad, add_send_recv, defer_receives.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/program.hpp"

namespace bubblescope {

/// An I that is directly followed by the W of its stage and microbatch becomes a B.
Program merge_backward(const Program& program);

/// For parameters that are sharded over data-parallel copies: UNSHARD of a stage before it is computed
/// on, RESHARD when it is none of the next `active` distinct stages of its row. Of a compound both
/// stages count, also where that makes one more than `active`. What is left unsharded is resharded
/// after the last forward or backward. Throws InputError where `active` is below 1, or where the
/// program has such ops already.
Program add_unshard_reshard(const Program& program, std::int32_t active = 3);

/// REDUCE_GRAD of a stage after its last B or W of an iteration: gradients that were added up over
/// microbatches are reduced once. Throws InputError where the program has such ops already.
Program add_reduce_grad(const Program& program);

/// Moves every receive right before the op that uses it. On the lower rank of two, the receives still
/// owed by the higher one come before a send to it, so that both do not send first. The order of the
/// two sides of a channel may then differ: `validate` at V3 says where that deadlocks.
Program defer_receives(const Program& program);

/// Names for the passes above, in the order in which they apply.
std::vector<std::string> lowering_names();

/// Applies the passes that `list` names, separated by commas (`merge-backward,unshard=4,reduce-grad`; the
/// number is `active`), in PyTorch's order whatever theirs, and places communication between them.
/// Throws InputError that names what is no pass, or comes twice.
Program lower(const Program& program, std::string_view list);

}  // namespace bubblescope
