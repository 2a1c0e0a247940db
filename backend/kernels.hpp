// The kernels and copies that ops consist of: who records them while ops are issued, and how they get into the
// Timeline of the run.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/op_table.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {

/// One kernel, copy or fill, as the device ran it.
struct KernelRecord {
  OpIndex op = -1;         ///< of the run, that issued it
  std::int32_t name = -1;  ///< KernelRecords::names
  Nanos start = 0;         ///< of the steady clock
  Nanos end = 0;
  std::int64_t bytes = -1; ///< copied or filled; -1: a kernel
};

struct KernelRecords {
  std::vector<KernelRecord> records;  ///< in any order
  std::vector<std::string> names;
  std::int64_t lost = 0;  ///< records without room, times or op
};

/// Records what ops run on their device, from its making to `take`. One at a time in a process.
class KernelActivity {
 public:
  virtual ~KernelActivity() = default;
  /// What the calling thread issues until `end` is the op's. Not nested. `begin` may throw RunError; `end` does not.
  virtual void begin(OpIndex op) = 0;
  virtual void end() noexcept = 0;
  /// Ends the recording, after all that was issued is done. Throws RunError where it failed.
  virtual KernelRecords take() = 0;
};

/// The calling thread issues for an op; without an activity nothing happens.
class KernelScope {
 public:
  KernelScope(KernelActivity* activity, OpIndex op) : activity_(activity) {
    if (activity_ != nullptr) activity_->begin(op);
  }
  ~KernelScope() {
    if (activity_ != nullptr) activity_->end();
  }
  KernelScope(const KernelScope&) = delete;
  KernelScope& operator=(const KernelScope&) = delete;

 private:
  KernelActivity* activity_;
};

/// Why kernels cannot be recorded where there is no KernelActivity.
inline constexpr const char* kNoKernels = "kernels are recorded by the CUDA backend alone; expected backend.name = \"cuda\", or run.kernels = false";

/// Adds the records to the Timeline that has their ops, which `span_of` names by op (-1: not there; such records are
/// left out): kernels on tracks of kind `kernel`, copies and fills of kind `copy`, as many per rank as keep those of one
/// track apart. They have no op, but `waited_for` is the span of theirs.
///
/// Devices time kernels and events by two clocks. All of a rank's kernels are moved by the least time that brings as
/// much as can be of them into their compute ops (the least sum of what sticks out on both sides). Returns the farthest
/// of these moves, signed.
Nanos add_kernels(Timeline& timeline, std::span<const std::int32_t> span_of, const KernelRecords& activity);

/// A kernel's name for people: demangled where it is mangled, without return type, parameters and namespaces, cut to
/// 72 bytes. `_ZN2at6native4kernILi4EEEvi` -> `kern<4>`.
std::string kernel_name(std::string_view symbol);

}  // namespace bubblescope
