// One GPU cut into parts with SMs of their own, so that several ranks really run on one device: green contexts of
// the CUDA driver (12.5 and newer), all from one split, which alone makes them disjoint.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace bubblescope {

/// The parts of one GPU. Streams made in a part run on its SMs alone. Lives as long as any of its streams is used.
class SmPartitions {
 public:
  /// Cuts `gpu` into `parts` of as many SMs as there are for each, rounded down to what the hardware
  /// grants (multiples of 8 from compute capability 9.0 on). Throws RunError where the driver has no green contexts or the
  /// GPU has too few SMs; InputError where `parts` is below 1.
  SmPartitions(int gpu, std::int32_t parts);
  ~SmPartitions();
  SmPartitions(const SmPartitions&) = delete;
  SmPartitions& operator=(const SmPartitions&) = delete;

  /// SMs that each part was granted.
  const std::vector<std::int32_t>& sms() const { return sms_; }
  std::int32_t total_sms() const { return total_sms_; }
  /// A new stream of a part, which does not wait for the default stream. It lives as long as this.
  cudaStream_t stream(std::int32_t part);

 private:
  struct Context;
  std::int32_t total_sms_ = 0;
  std::vector<std::int32_t> sms_;
  std::vector<std::unique_ptr<Context>> contexts_;
  std::vector<cudaStream_t> streams_;
};

}  // namespace bubblescope
