// Kernels and copies of a run, as CUPTI's activity records have them.
#pragma once

#include <cupti.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/kernels.hpp"

namespace bubblescope {

/// Starts recording on all GPUs of this process. Throws RunError where CUPTI cannot (a profiler has it already, no
/// permission), or another recording is under way. Graphs that are to be looked into must be captured after this.
std::unique_ptr<KernelActivity> cuda_kernel_activity();

/// Activity records, gathered in whatever order CUPTI delivers them.
///
/// CUPTI numbers every call of the API (correlation id). A call made between `KernelActivity::begin` and `end` has a
/// record that joins that number to the op's (external id); a kernel has the number of the call that launched it, and
/// all kernels of a CUDA graph that of the graph's launch.
class ActivityRecords {
 public:
  /// Takes what it needs of one record; the names are copied.
  void add(const CUpti_Activity& record);
  /// What was added. Lost: kernels and copies without times, or whose call was made for no op, and `dropped` ones.
  KernelRecords join(std::int64_t dropped) const;

 private:
  struct Done {
    std::uint32_t correlation;
    std::int32_t name;
    std::uint64_t start, end;
    std::int64_t bytes;
  };
  std::int32_t number_of(const std::string& name);

  std::vector<Done> done_;
  std::unordered_map<std::uint32_t, OpIndex> ops_;  ///< by correlation id
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::int32_t> numbers_;
  std::unordered_map<const char*, std::int32_t> symbols_;  ///< CUPTI's pointers, which it shares among records
};

}  // namespace bubblescope
