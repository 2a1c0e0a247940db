// Which channel modes a Program runs in: the answer to a deadlock of V3.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/program.hpp"

namespace bubblescope {

/// The modes, as `--channel` takes them, in which `program` has no deadlock and matching orders after
/// `lower(program, passes)`. It must pass V1; where it fails V2 there is none. Of a FIFO that is safe only for
/// messages that need no rendezvous the least size is named: `rank,eager=65536`, or without `output_bytes` (by
/// the stage that sends forward) `rank,eager`, messages of any size.
std::vector<std::string> safe_channels(const Program& program, std::string_view passes = {}, std::span<const std::int64_t> output_bytes = {});

}  // namespace bubblescope
