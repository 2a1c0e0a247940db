// Which Programs can be run as recordings (CUDA graphs) of their ops.
#pragma once

#include <string>

#include "sim/core/program.hpp"

namespace bubblescope {

/// Why not; empty: they can. Recordings repeat what the host decided once, in the same memory.
std::string not_recordable(const Program& program);

/// The same of a model that draws dropout masks.
inline constexpr const char* kDropoutNotRecordable = "dropout draws its masks on the host";

}  // namespace bubblescope
