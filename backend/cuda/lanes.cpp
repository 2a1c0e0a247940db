// GPUs and streams of ranks.
#include "backend/cuda/lanes.hpp"

#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backend/cuda/errors.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

cudaDeviceProp properties(int gpu) {
  cudaDeviceProp found{};
  check_cuda(cudaGetDeviceProperties(&found, gpu), "cudaGetDeviceProperties");
  return found;
}

}  // namespace

int count_gpus() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

CudaLanes::CudaLanes(Placement placement, std::int32_t ranks, int gpu) : placement_(placement), ranks_(ranks), gpu_(gpu), streams_(static_cast<std::size_t>(ranks)) {
  const int there = count_gpus();
  const int needed = placement == Placement::gpus ? gpu + ranks : gpu + 1;
  if (there == 0) throw RunError("the CUDA backend finds no GPU (no device, or no driver); use 'backend.name = \"cpu\"'");
  if (there < needed) {
    throw RunError(fmt::format("the run needs GPU {} and finds {}; with devices = \"partitions\" all ranks share one", needed - 1, there == 1 ? "GPU 0 alone" : fmt::format("GPUs 0 to {}", there - 1)));
  }
  if (placement == Placement::partitions) partitions_ = std::make_unique<SmPartitions>(gpu, ranks);
}

CudaLanes::~CudaLanes() {
  links_.reset();  // its communicators use the streams
  if (partitions_) return;  // the streams are theirs
  for (const auto& of_rank : streams_) {
    for (cudaStream_t stream : of_rank) cudaStreamDestroy(stream);
  }
}

cudaStream_t CudaLanes::stream(Rank rank, std::size_t k) {
  const std::lock_guard lock(mutex_);
  auto& of_rank = streams_.at(static_cast<std::size_t>(rank));
  while (of_rank.size() <= k) {
    cudaStream_t made = nullptr;
    if (partitions_) {
      made = partitions_->stream(rank);
    } else {
      const c10::cuda::CUDAGuard device(static_cast<c10::DeviceIndex>(gpu(rank)));
      check_cuda(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    }
    of_rank.push_back(made);
  }
  return of_rank[k];
}

std::vector<std::int32_t> CudaLanes::sms() const {
  if (partitions_) return partitions_->sms();
  std::vector<std::int32_t> sms;
  for (Rank rank = 0; rank < ranks_; ++rank) sms.push_back(properties(gpu(rank)).multiProcessorCount);
  return sms;
}

std::int32_t CudaLanes::total_sms() const { return properties(gpu_).multiProcessorCount; }

std::string CudaLanes::gpu_name() const { return properties(gpu_).name; }

std::string CudaLanes::describe() const {
  const std::string name = properties(gpu_).name;
  switch (placement_) {
    case Placement::gpus:
      if (ranks_ == 1) return fmt::format("GPU {} ({})", gpu_, name);
      return fmt::format("{} GPUs from GPU {} ({}) on", ranks_, gpu_, name);
    case Placement::partitions: return fmt::format("{} partitions of GPU {} ({}): {} of {} SMs", ranks_, gpu_, name, fmt::join(partitions_->sms(), ", "), partitions_->total_sms());
    case Placement::streams: break;
  }
  return fmt::format("{} streams of GPU {} ({}), all of its {} SMs", ranks_, gpu_, name, properties(gpu_).multiProcessorCount);
}

}  // namespace bubblescope
