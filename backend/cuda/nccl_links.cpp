// Grouped sends and receives of NCCL.
#include "backend/cuda/nccl_links.hpp"

#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAGuard.h>
#include <nccl.h>

#include <vector>

#include "backend/cuda/errors.hpp"

namespace bubblescope {

struct NcclLinks::Link {
  Link(int from, int to) : same(from == to) {
    const std::vector<int> gpus = same ? std::vector<int>{from} : std::vector<int>{from, to};
    communicators.resize(gpus.size());
    check_nccl(ncclCommInitAll(communicators.data(), static_cast<int>(gpus.size()), gpus.data()), "ncclCommInitAll");
    if (same) return;
    const c10::cuda::CUDAGuard device(static_cast<c10::DeviceIndex>(to));
    check_cuda(cudaStreamCreateWithFlags(&receiver, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    check_cuda(cudaEventCreateWithFlags(&received, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    const c10::cuda::CUDAGuard other(static_cast<c10::DeviceIndex>(from));
    check_cuda(cudaEventCreateWithFlags(&begun, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  }
  ~Link() {
    for (ncclComm_t communicator : communicators) ncclCommDestroy(communicator);
    if (begun != nullptr) cudaEventDestroy(begun);
    if (received != nullptr) cudaEventDestroy(received);
    if (receiver != nullptr) cudaStreamDestroy(receiver);
  }

  bool same;
  std::vector<ncclComm_t> communicators;  ///< of the sender, and of the receiver where that is another GPU
  cudaStream_t receiver = nullptr;
  cudaEvent_t begun = nullptr, received = nullptr;
};

NcclLinks::NcclLinks() = default;
NcclLinks::~NcclLinks() = default;

at::Tensor NcclLinks::carry(const at::Tensor& tensor, const c10::cuda::CUDAStream& stream, int to) {
  const int from = stream.device_index();
  Link* link = nullptr;
  {
    const std::lock_guard lock(mutex_);
    auto& known = links_[{stream.stream(), to}];
    if (!known) known = std::make_unique<Link>(from, to);
    link = known.get();
  }
  const at::Tensor sent = tensor.contiguous();
  const std::size_t bytes = sent.nbytes();
  if (link->same) {
    at::Tensor copy = at::empty_like(sent);
    check_nccl(ncclGroupStart(), "ncclGroupStart");
    check_nccl(ncclSend(sent.const_data_ptr(), bytes, ncclInt8, 0, link->communicators[0], stream.stream()), "ncclSend");
    check_nccl(ncclRecv(copy.mutable_data_ptr(), bytes, ncclInt8, 0, link->communicators[0], stream.stream()), "ncclRecv");
    check_nccl(ncclGroupEnd(), "ncclGroupEnd");
    return copy;
  }
  const auto receiver = c10::cuda::getStreamFromExternal(link->receiver, static_cast<c10::DeviceIndex>(to));
  at::Tensor copy;
  {
    const c10::cuda::CUDAStreamGuard there(receiver);
    copy = at::empty_like(sent, sent.options().device(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(to))));
  }
  // The receive takes part in the order of the stream that sends.
  check_cuda(cudaEventRecord(link->begun, stream.stream()), "cudaEventRecord");
  check_cuda(cudaStreamWaitEvent(link->receiver, link->begun, 0), "cudaStreamWaitEvent");
  check_nccl(ncclGroupStart(), "ncclGroupStart");
  check_nccl(ncclSend(sent.const_data_ptr(), bytes, ncclInt8, 1, link->communicators[0], stream.stream()), "ncclSend");
  check_nccl(ncclRecv(copy.mutable_data_ptr(), bytes, ncclInt8, 0, link->communicators[1], link->receiver), "ncclRecv");
  check_nccl(ncclGroupEnd(), "ncclGroupEnd");
  {
    const c10::cuda::CUDAGuard there(static_cast<c10::DeviceIndex>(to));
    check_cuda(cudaEventRecord(link->received, link->receiver), "cudaEventRecord");
  }
  check_cuda(cudaStreamWaitEvent(stream.stream(), link->received, 0), "cudaStreamWaitEvent");
  return copy;
}

}  // namespace bubblescope
