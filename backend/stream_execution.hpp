// A run on streams: plans it, lets every rank issue its part, and reads the events' times. Used by the executor
// alone.
#pragma once

#include <cstdint>
#include <span>

#include "backend/executor.hpp"
#include "backend/streams.hpp"

namespace bubblescope {

/// As `execute`, which has validated the program. `output_bytes` decide what is eager.
Execution execute_on_streams(const Program& program, Ranks& ranks, StreamSource& source, std::span<const std::int64_t> output_bytes, const ExecuteOptions& options);

}  // namespace bubblescope
