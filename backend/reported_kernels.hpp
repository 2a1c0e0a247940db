// Kernels of devices that are none: what a device's code says it did stands in for what a GPU records, so that the
// bookkeeping around it can be tried on any machine.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "backend/kernels.hpp"

namespace bubblescope {

/// Collects what devices report while they work on an op, from any thread.
class ReportedKernels {
 public:
  /// Part of what the calling thread's op consists of; outside of any op it counts as lost. Times as in KernelRecord.
  void report(const std::string& name, Nanos start, Nanos end, std::int64_t bytes = -1);

  /// Records into this, which must outlive it.
  std::unique_ptr<KernelActivity> activity();

 private:
  class Activity;
  std::mutex mutex_;
  bool recording_ = false;
  std::map<std::thread::id, OpIndex> current_;
  KernelRecords found_;
};

}  // namespace bubblescope
