// Reads a Program from a file of either text form.
#pragma once

#include <filesystem>

#include "sim/core/program.hpp"

namespace bubblescope {

/// Reads `.psched` or PyTorch's `.csv`, told apart by the ending. Throws InputError, also where the
/// file cannot be read.
Program read_program(const std::filesystem::path& file);

}  // namespace bubblescope
