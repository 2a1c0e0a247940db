// Communicators of two ranks: 0 sends, 1 receives.
#include "backend/cuda/nccl_transport.hpp"

#include <ATen/cuda/CUDAEvent.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "backend/cuda/errors.hpp"
#include "backend/cuda/gpu_body.hpp"
#include "backend/gpu_transport.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

constexpr auto kLook = std::chrono::microseconds(100);

/// Before the others' work: a transfer that waits for SMs keeps both GPUs waiting. Never destroyed: LibTorch's memory belongs
/// to the streams that it was asked for on.
c10::cuda::CUDAStream new_stream(c10::DeviceIndex gpu) {
  const c10::cuda::CUDAGuard device(gpu);
  int least = 0, greatest = 0;
  check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest), "cudaStreamCreateWithPriority");
  return c10::cuda::getStreamFromExternal(stream, gpu);
}

at::Tensor new_bytes(std::int64_t bytes, const c10::cuda::CUDAStream& stream) {
  const c10::cuda::CUDAStreamGuard guard(stream);
  return at::empty({bytes}, at::TensorOptions(at::kByte).device(at::kCUDA, stream.device_index()));
}

class NcclWire final : public GpuWire {
 public:
  NcclWire(std::string id, int rank, std::int32_t gpu) : id_(std::move(id)), rank_(rank), gpu_(static_cast<c10::DeviceIndex>(gpu)) {}
  ~NcclWire() override { abort(); }

  void connect() override {
    in_words([this] { join(); });
  }
  void send(const Parcel& parcel, const std::shared_ptr<void>& given) override {
    in_words([&] {
      const c10::cuda::CUDAGuard device(gpu_);
      std::static_pointer_cast<at::cuda::CUDAEvent>(given)->block(*stream_);
      check_nccl(ncclSend(parcel.body.get(), static_cast<std::size_t>(parcel.bytes), ncclInt8, 1, usable(), stream_->stream()), "ncclSend");
      note_end();
    });
  }
  Parcel receive(std::int64_t bytes) override {
    return in_words([&] {
      const c10::cuda::CUDAGuard device(gpu_);
      at::Tensor memory = new_bytes(bytes, *stream_);
      check_nccl(ncclRecv(memory.mutable_data_ptr(), static_cast<std::size_t>(bytes), ncclInt8, 0, usable(), stream_->stream()), "ncclRecv");
      note_end();
      return Parcel{"", body_of_tensor(std::move(memory)), bytes, gpu_};
    });
  }
  std::int64_t done() override {
    return in_words([this] {
      while (!ends_.empty() && ends_.front().query()) {
        unused_.push_back(std::move(ends_.front()));
        ends_.pop_front();
        ++done_;
      }
      if (!ends_.empty()) check();
      return done_;
    });
  }
  void disconnect() override {
    const std::lock_guard lock(mutex_);
    if (communicator_ != nullptr) check_nccl(ncclCommDestroy(std::exchange(communicator_, nullptr)), "ncclCommDestroy");
  }
  void abort() noexcept override {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    if (communicator_ != nullptr) ncclCommAbort(std::exchange(communicator_, nullptr));
  }

 private:
  /// LibTorch's failures, too, become RunErrors.
  template <class Work>
  static std::invoke_result_t<Work> in_words(const Work& work) {
    try {
      return work();
    } catch (const c10::Error& error) {
      throw RunError(error.what_without_backtrace());
    }
  }

  void join() {
    const c10::cuda::CUDAGuard device(gpu_);
    stream_ = new_stream(gpu_);
    ncclUniqueId id;
    if (id_.size() != sizeof id.internal) throw RunError("the id of an NCCL communicator has another length; do all processes run the same build?");
    std::memcpy(id.internal, id_.data(), sizeof id.internal);
    ncclComm_t made = nullptr;
    check_nccl(ncclCommInitRank(&made, 2, id, rank_), "ncclCommInitRank");
    {
      const std::lock_guard lock(mutex_);
      if (aborted_) {
        ncclCommAbort(made);
        throw RunError("given up");
      }
      communicator_ = made;
    }
    // The first transfer waits for the other end to connect; it is done here, where waiting is allowed.
    const at::Tensor byte = new_bytes(1, *stream_);
    if (rank_ == 0) {
      check_nccl(ncclSend(byte.const_data_ptr(), 1, ncclInt8, 1, made, stream_->stream()), "ncclSend");
    } else {
      check_nccl(ncclRecv(byte.mutable_data_ptr(), 1, ncclInt8, 0, made, stream_->stream()), "ncclRecv");
    }
    at::cuda::CUDAEvent end;
    end.record(*stream_);
    while (!end.query()) {
      check();
      std::this_thread::sleep_for(kLook);
    }
  }

  ncclComm_t usable() {
    const std::lock_guard lock(mutex_);
    if (communicator_ == nullptr) throw RunError("given up");
    return communicator_;
  }

  void check() {
    const std::lock_guard lock(mutex_);
    if (communicator_ == nullptr) throw RunError("given up");
    ncclResult_t state = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(communicator_, &state), "ncclCommGetAsyncError");
    if (state != ncclInProgress) check_nccl(state, "NCCL, meanwhile");
  }

  void note_end() {
    if (unused_.empty()) unused_.emplace_back();
    ends_.push_back(std::move(unused_.back()));
    unused_.pop_back();
    ends_.back().record(*stream_);
  }

  std::string id_;
  int rank_;
  c10::DeviceIndex gpu_;
  std::optional<c10::cuda::CUDAStream> stream_;
  std::mutex mutex_;  ///< guards the next two
  ncclComm_t communicator_ = nullptr;
  bool aborted_ = false;
  std::deque<at::cuda::CUDAEvent> ends_;    ///< of what was begun
  std::deque<at::cuda::CUDAEvent> unused_;  ///< to be recorded again
  std::int64_t done_ = 0;
};

class NcclWires final : public GpuWires {
 public:
  explicit NcclWires(std::function<std::int32_t()> receiver) : receiver_(std::move(receiver)) {}

  std::string name() const override { return "NCCL"; }
  std::string new_id() override {
    ncclUniqueId id;
    check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    return {id.internal, sizeof id.internal};
  }
  std::unique_ptr<GpuWire> outgoing(const std::string& id, std::int32_t gpu) override { return std::make_unique<NcclWire>(id, 0, gpu); }
  std::unique_ptr<GpuWire> incoming(const std::string& id) override { return std::make_unique<NcclWire>(id, 1, receiver_()); }
  std::shared_ptr<void> given(std::int32_t gpu) override {
    const auto device = static_cast<c10::DeviceIndex>(gpu);
    const c10::cuda::CUDAGuard guard(device);
    auto event = std::make_shared<at::cuda::CUDAEvent>();
    event->record(c10::cuda::getCurrentCUDAStream(device));
    return event;
  }

 private:
  std::function<std::int32_t()> receiver_;
};

}  // namespace

std::unique_ptr<GpuWires> nccl_wires(std::function<std::int32_t()> receiver) { return std::make_unique<NcclWires>(std::move(receiver)); }

std::unique_ptr<Transport> nccl_transport(std::unique_ptr<Transport> host, std::function<std::int32_t()> receiver) {
  return std::make_unique<GpuTransport>(std::move(host), nccl_wires(std::move(receiver)));
}

}  // namespace bubblescope
