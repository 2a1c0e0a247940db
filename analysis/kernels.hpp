// What ops consist of on their device: time in kernels, in copies, and in gaps between them, of a Timeline that has
// kernels (backend/kernels.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/core/timeline.hpp"

namespace bubblescope {

/// All launches of one kernel. Times of launches are added up, also of those that overlapped.
struct KernelUse {
  std::string name;
  std::int64_t launches = 0;
  Nanos time = 0;
};

/// The ops of one kind on one stage and rank, their times added up.
///
/// Of an op that runs from `a` to `b`, K being the union of its kernels and C that of its copies and fills:
///   kernel_time  = |K in [a, b)|
///   copy_time    = |C in [a, b) and not in K|
///   gap_time     = |[a, b) in neither|
///   op_time      = b - a = kernel_time + copy_time + gap_time, exactly
///   issuing_time = the part of gap_time in which the host was still issuing the op: the device waited for launches
///   outside_time = |K or C before a or from b on|: what a member of a collective contributes before it meets the
///                  others, and what device and host clock are off by
struct KernelGroup {
  Rank rank = 0;
  Stage stage = -1;  ///< -1: compounds
  Kind kind = Kind::F;
  std::int64_t ops = 0;
  std::int64_t kernels = 0;
  std::int64_t copies = 0;
  std::int64_t bytes = 0;  ///< copied and filled
  Nanos op_time = 0;
  Nanos kernel_time = 0;
  Nanos copy_time = 0;
  Nanos gap_time = 0;
  Nanos issuing_time = 0;
  Nanos outside_time = 0;
  std::vector<KernelUse> longest;  ///< at most five, the one with most time first; kernels alone

  double gap_share() const { return op_time > 0 ? static_cast<double>(gap_time) / static_cast<double>(op_time) : 0; }
  /// Whether at least a tenth of the ops' time are gaps in which the host was still issuing them.
  bool launch_bound() const { return op_time > 0 && 10 * issuing_time >= op_time; }
};

struct KernelBreakdown {
  std::vector<KernelGroup> groups;  ///< by rank, stage, kind; without those that ran no kernel and copied nothing
  std::vector<KernelUse> longest;   ///< of all ranks, at most ten
};

/// Throws InputError where the Timeline is inconsistent, or a kernel names no op.
KernelBreakdown kernel_breakdown(const Timeline& timeline);

}  // namespace bubblescope
