// Messages between ranks of one process over NCCL.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace bubblescope {

/// A communicator for every stream that sends and every GPU that it sends to, made at its first message: what one
/// stream carries keeps its order, what several carry does not wait for each other. On one GPU, where NCCL allows no
/// second rank, it has one rank, which sends to itself. Lives as long as the streams.
class NcclLinks {
 public:
  NcclLinks();
  ~NcclLinks();
  NcclLinks(const NcclLinks&) = delete;
  NcclLinks& operator=(const NcclLinks&) = delete;

  /// A copy on GPU `to` of `tensor`, which lies on the stream's GPU; it is whole when the stream, the current one, has done
  /// what it has been given. Throws RunError. From any thread, one at a time per stream.
  at::Tensor carry(const at::Tensor& tensor, const c10::cuda::CUDAStream& stream, int to);

 private:
  struct Link;
  std::mutex mutex_;
  std::map<std::pair<cudaStream_t, int>, std::unique_ptr<Link>> links_;
};

}  // namespace bubblescope
