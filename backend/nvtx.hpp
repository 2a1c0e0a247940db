// NVTX ranges for the ops that a backend executes: what Nsight and other NVTX tools show. Without a
// tool attached a range costs a few nanoseconds; without NVTX at build time nvtx_stub.cpp stands in.
#pragma once

#include <cstdint>
#include <string>

#include "sim/core/op.hpp"

namespace bubblescope {

/// A range's name, registered with the tool once, so that nothing is formatted while ops run.
using NvtxName = void*;

/// Registers a name in the domain `bubblescope` (`PP:0F3`, the name PyTorch gives such ranges).
NvtxName nvtx_register(const std::string& name);

/// Names the categories after the op kinds: category k + 1 is the kind k.
void nvtx_name_categories();

/// A range on the calling thread, from construction to destruction, in the category of `kind`. The
/// payload is the iteration (signed 64-bit).
class NvtxRange {
 public:
  NvtxRange(NvtxName name, Kind kind, std::int64_t iteration);
  ~NvtxRange();
  NvtxRange(const NvtxRange&) = delete;
  NvtxRange& operator=(const NvtxRange&) = delete;
};

}  // namespace bubblescope
