// Devices and streams on GPUs.
#include "backend/cuda/backend.hpp"

#include <ATen/Context.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cublas_v2.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <regex>
#include <string>
#include <tuple>
#include <utility>

#include "backend/cuda/activity.hpp"
#include "backend/cuda/codec.hpp"
#include "backend/cuda/environment.hpp"
#include "backend/cuda/errors.hpp"
#include "backend/cuda/graphs.hpp"
#include "backend/cuda/waiting_device.hpp"
#include "backend/streams.hpp"
#include "backend/torch/device.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

/// Kept as long as the process runs: LibTorch's memory belongs to the streams that it was asked for on, and would stay
/// with those that are gone.
std::shared_ptr<CudaLanes> lanes_for(Placement placement, std::int32_t ranks, int gpu) {
  static std::mutex mutex;
  // Never destroyed: CUDA is gone before what would be at the process's end.
  static auto& known = *new std::map<std::tuple<Placement, std::int32_t, int>, std::shared_ptr<CudaLanes>>;
  const std::lock_guard lock(mutex);
  auto& lanes = known[{placement, ranks, gpu}];
  if (!lanes) lanes = std::make_shared<CudaLanes>(placement, ranks, gpu);
  return lanes;
}

/// `580.82.07`, as the kernel module says; empty where it does not.
std::string driver_version() {
  std::ifstream in("/proc/driver/nvidia/version");
  std::string line;
  std::smatch found;
  if (!std::getline(in, line) || !std::regex_search(line, found, std::regex(R"(\d+\.\d+(\.\d+)?)"))) return {};
  return found.str();
}

class CudaBackend : public Backend, public StreamSource {
 public:
  CudaBackend(std::shared_ptr<const TorchShared> shared, const CudaConfig& cuda) : shared_(std::move(shared)), cuda_(cuda) {}

  std::string name() const override { return lanes_ ? "cuda: " + lanes_->describe() : "cuda"; }

  std::unique_ptr<Device> device(Rank rank, const Program& program) override {
    if (!lanes_) lanes_ = lanes_for(cuda_.placement, cuda_.share ? cuda_.share->count : program.ranks(), cuda_.gpu);
    const Rank place = rank - (cuda_.share ? cuda_.share->first : 0);
    const auto gpu = static_cast<c10::DeviceIndex>(lanes_->gpu(place));
    try {
      at::globalContext().lazyInitDevice(c10::kCUDA);
      // For all that this thread does: whatever it allocates is the compute stream's.
      c10::cuda::set_device(gpu);
      const auto stream = c10::cuda::getStreamFromExternal(lanes_->stream(place, 0), gpu);
      c10::cuda::setCurrentCUDAStream(stream);
      tell_cublas(place);
      if (cuda_.share) return std::make_unique<WaitingDevice>(shared_, rank, program, stream);
      return std::make_unique<TorchDevice>(shared_, rank, program, torch::Device(torch::kCUDA, gpu), cuda_.graphs ? MakeRecorder(cuda_recorder) : nullptr);
    } catch (const c10::Error& error) {
      throw RunError(fmt::format("rank {}: its stages cannot be made: {}", rank, error.what_without_backtrace()));
    }
  }

  BackendDescription describe() const override {
    int driver = 0, runtime = 0, nccl = 0;
    check_cuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    check_cuda(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    check_nccl(ncclGetVersion(&nccl), "ncclGetVersion");
    const auto dotted = [](int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); };
    std::map<std::string, std::string> versions{{"CUDA", dotted(runtime)}, {"CUDA of the driver", dotted(driver)}, {"NCCL", fmt::format("{}.{}.{}", nccl / 10000, nccl % 10000 / 100, nccl % 100)}};
    versions["LibTorch"] = TORCH_VERSION;
    if (const std::string installed = driver_version(); !installed.empty()) versions["NVIDIA driver"] = installed;
    return {lanes_ ? lanes_->gpu_name() : "", lanes_ ? lanes_->describe() : "", std::move(versions)};
  }

  StreamSource* stream_source() override { return cuda_.share ? nullptr : this; }
  const PayloadCodec& codec() const override { return codec_; }

  std::unique_ptr<Streams> streams(std::span<const LaneSpec> lanes, std::size_t events) override {
    if (!lanes_) throw RunError("streams are asked for before there is a device");
    return cuda_streams(lanes_, lanes, events, cuda_.streams);
  }

  std::unique_ptr<KernelActivity> kernel_activity() override { return cuda_kernel_activity(); }

 private:
  /// Handles are LibTorch's, one per thread and GPU, and are used again by later threads; cuBLASLt is told by LibTorch, which
  /// has one figure for all: how many SMs to leave alone.
  void tell_cublas(Rank rank) {
    const bool tell = cuda_.tell_cublas_sms && cuda_.placement == Placement::partitions;
    const std::int32_t sms = tell ? lanes_->sms()[static_cast<std::size_t>(rank)] : 0;  // 0: all
    const cublasStatus_t status = cublasSetSmCountTarget(at::cuda::getCurrentCUDABlasHandle(), sms);
    if (status != CUBLAS_STATUS_SUCCESS) throw RunError(fmt::format("cublasSetSmCountTarget: {}", cublasGetStatusString(status)));
    at::globalContext()._setSMCarveout_EXPERIMENTAL(tell ? std::optional<std::int32_t>(lanes_->total_sms() - sms) : std::nullopt);
  }

  std::shared_ptr<const TorchShared> shared_;
  CudaConfig cuda_;
  CudaCodec codec_;
  std::shared_ptr<CudaLanes> lanes_;
};

}  // namespace

std::unique_ptr<Backend> cuda_backend(TorchConfig config, const CudaConfig& cuda) {
  const bool tf32 = config.precision == "tf32";
  if (tf32) config.precision = "float32";
  set_cuda_environment(cuda.share.has_value());
  // Read when cuBLAS is first used.
  if (config.deterministic) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  auto shared = torch_shared(std::move(config));
  // Process-wide in LibTorch.
  at::globalContext().setAllowTF32CuBLAS(tf32);
  at::globalContext().setAllowTF32CuDNN(tf32);
  at::globalContext().setBenchmarkCuDNN(false);
  return std::make_unique<CudaBackend>(std::move(shared), cuda);
}

}  // namespace bubblescope
