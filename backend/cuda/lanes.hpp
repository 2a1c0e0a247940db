// Where ranks run: whole GPUs, parts of one GPU, or plain streams of one GPU; and the CUDA streams they use.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/cuda/nccl_links.hpp"
#include "backend/cuda/partitions.hpp"
#include "sim/core/op.hpp"

namespace bubblescope {

enum class Placement : std::uint8_t {
  gpus,        ///< rank r on GPU r
  partitions,  ///< all on one GPU, each with SMs of its own
  streams,     ///< all on one GPU, sharing all SMs
};

/// Gives ranks their GPU and streams. Streams live as long as this, and are used again by the next run.
class CudaLanes {
 public:
  /// Throws RunError where there is no GPU, or there are too few.
  CudaLanes(Placement placement, std::int32_t ranks, int gpu);
  ~CudaLanes();
  CudaLanes(const CudaLanes&) = delete;
  CudaLanes& operator=(const CudaLanes&) = delete;

  int gpu(Rank rank) const { return placement_ == Placement::gpus ? gpu_ + rank : gpu_; }
  /// The k-th stream of a rank; the 0th computes. From any thread.
  cudaStream_t stream(Rank rank, std::size_t k);
  /// Their NCCL communicators, made as they are needed.
  NcclLinks& links() { return *links_; }
  /// SMs of each rank, as granted.
  std::vector<std::int32_t> sms() const;
  /// Of the (first) GPU.
  std::int32_t total_sms() const;
  /// `NVIDIA H200`
  std::string gpu_name() const;
  /// `4 partitions of GPU 0 (NVIDIA H200): 32, 32, 32, 32 of 132 SMs`
  std::string describe() const;

 private:
  Placement placement_;
  std::int32_t ranks_;
  int gpu_;
  std::unique_ptr<SmPartitions> partitions_;
  std::mutex mutex_;
  std::vector<std::vector<cudaStream_t>> streams_;  ///< by rank
  std::unique_ptr<NcclLinks> links_ = std::make_unique<NcclLinks>();
};

/// Number of GPUs that this process can use; 0 where there is no driver.
int count_gpus();

}  // namespace bubblescope
