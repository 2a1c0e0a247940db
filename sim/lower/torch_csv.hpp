// PyTorch's schedule files (`torch.distributed.pipelining`): one CSV row per rank, one cell per op.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "sim/core/program.hpp"

namespace bubblescope {

enum class TorchFormat { compute_only, compute_comms };

/// The Program's rows as PyTorch reads them (its current dialect: I, W, B). The updates of a flush
/// are PyTorch's own affair and left out; an op for which it has no word, or more than one chain,
/// throws InputError naming the op. `compute_comms` expects a Program with communication.
std::string to_torch_csv(const Program& program, TorchFormat format);

/// Reads such a file; which format and which dialect (older ones write `F1_s0`, or B for the input
/// gradient and BW for the full backward) is found out. Batches of transfers (`(0SEND_F1;0RECV_B0)BATCH_P2P`) are
/// read, too; `validate` says that none are executed. The stages' ranks are the rows in which they
/// first appear; one chain. Throws InputError `file:line:col: ...` on anything that is not a cell,
/// trailing characters included.
Program from_torch_csv(std::string_view text, const std::string& file);

}  // namespace bubblescope
