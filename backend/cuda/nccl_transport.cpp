// Communicators of two ranks: 0 sends, 1 receives. They are nonblocking: what waits for NCCL polls, so that it can be aborted.
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
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
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
constexpr int kQuickLooks = 1000;  ///< without a break: sends and receives are begun by a thread of NCCL's, which takes a moment

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
      call("ncclSend", [&] { return ncclSend(parcel.body.get(), static_cast<std::size_t>(parcel.bytes), ncclInt8, 1, communicator_, stream_->stream()); });
      note_end();
    });
  }
  Parcel receive(std::int64_t bytes) override {
    return in_words([&] {
      const c10::cuda::CUDAGuard device(gpu_);
      at::Tensor memory = new_bytes(bytes, *stream_);
      call("ncclRecv", [&] { return ncclRecv(memory.mutable_data_ptr(), static_cast<std::size_t>(bytes), ncclInt8, 0, communicator_, stream_->stream()); });
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
    const Turn turn(*this);
    if (communicator_ == nullptr) return;
    finish("ncclCommFinalize", ncclCommFinalize(communicator_));
    check_nccl(ncclCommDestroy(std::exchange(communicator_, nullptr)), "ncclCommDestroy");
  }
  void abort() noexcept override {
    aborted_ = true;
    abort_unless_used();
  }

 private:
  /// The right to call NCCL with the communicator, of one thread at a time. An `abort` meanwhile is left to who has it, and is done
  /// when that goes: nothing else may be in NCCL then. Nobody waits for it, so that no abort waits for another one.
  class Turn {
   public:
    explicit Turn(NcclWire& wire) : wire_(wire) {
      const std::lock_guard lock(wire_.mutex_);
      if (wire_.aborted_) throw RunError("given up");
      wire_.used_ = true;
    }
    ~Turn() {
      {
        const std::lock_guard lock(wire_.mutex_);
        wire_.used_ = false;
      }
      if (wire_.aborted_) wire_.abort_unless_used();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    NcclWire& wire_;
  };

  void abort_unless_used() noexcept {
    ncclComm_t doomed = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (!used_) doomed = std::exchange(communicator_, nullptr);
    }
    ncclCommAbort(doomed);  // of none: nothing
  }

  /// In a turn: waits until NCCL is through with the call that has returned `state`.
  void finish(std::string_view name, ncclResult_t state) {
    for (int looks = 0; state == ncclInProgress; ++looks) {
      if (aborted_) throw RunError("given up");
      if (looks >= kQuickLooks) {
        std::this_thread::sleep_for(kLook);
      } else if (looks > 0) {
        std::this_thread::yield();
      }
      check_nccl(ncclCommGetAsyncError(communicator_, &state), "ncclCommGetAsyncError");
    }
    check_nccl(state, name);
  }

  template <class Call>
  void call(std::string_view name, const Call& nccl) {
    const Turn turn(*this);
    finish(name, nccl());
  }

  /// Throws where something that is under way has failed.
  void check() {
    call("NCCL, meanwhile", [] { return ncclInProgress; });
  }

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
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t made = nullptr;  // NCCL writes to it until it is through, or aborted
    call("ncclCommInitRankConfig", [&] {
      const ncclResult_t state = ncclCommInitRankConfig(&made, 2, id, rank_, &config);
      communicator_ = made;
      return state;
    });
    // The first transfer waits for the other end to connect; it is done here, where waiting is allowed.
    const at::Tensor byte = new_bytes(1, *stream_);
    if (rank_ == 0) {
      call("ncclSend", [&] { return ncclSend(byte.const_data_ptr(), 1, ncclInt8, 1, communicator_, stream_->stream()); });
    } else {
      call("ncclRecv", [&] { return ncclRecv(byte.mutable_data_ptr(), 1, ncclInt8, 0, communicator_, stream_->stream()); });
    }
    at::cuda::CUDAEvent end;
    end.record(*stream_);
    while (!end.query()) {
      check();
      std::this_thread::sleep_for(kLook);
    }
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
  bool used_ = false;  ///< somebody has the turn, to whom alone the communicator belongs then
  ncclComm_t communicator_ = nullptr;
  std::atomic<bool> aborted_{false};
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
  /// Aborting a communicator waits for the GPU, and so for kernels of others that are still to be aborted. In a group NCCL is told
  /// of all before it waits. What could be said of failures helps nobody any more.
  void together(const std::function<void()>& work) override {
    ncclGroupStart();
    work();
    ncclGroupEnd();
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
