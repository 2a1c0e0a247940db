// Green contexts. The driver's functions are asked for at run time: this links without a driver.
#include "backend/cuda/partitions.hpp"

#include <cuda.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "backend/cuda/errors.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

constexpr unsigned kDriverApi = 12050;  // streams of green contexts came with it

/// A function of the driver by its name and type.
template <class Function>
Function driver_function(const char* name) {
  void* address = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t status = cudaGetDriverEntryPointByVersion(name, &address, kDriverApi, cudaEnableDefault, &found);
  if (status != cudaSuccess || found != cudaDriverEntryPointSuccess || address == nullptr) {
    throw RunError(fmt::format("the CUDA driver has no {}: SM partitions need driver 555 or newer; use devices = \"streams\" or \"gpus\" instead", name));
  }
  return reinterpret_cast<Function>(address);
}

struct Driver {
  decltype(&cuDeviceGet) device_get = driver_function<decltype(&cuDeviceGet)>("cuDeviceGet");
  decltype(&cuDeviceGetDevResource) device_resource = driver_function<decltype(&cuDeviceGetDevResource)>("cuDeviceGetDevResource");
  decltype(&cuDevSmResourceSplitByCount) split = driver_function<decltype(&cuDevSmResourceSplitByCount)>("cuDevSmResourceSplitByCount");
  decltype(&cuDevResourceGenerateDesc) describe = driver_function<decltype(&cuDevResourceGenerateDesc)>("cuDevResourceGenerateDesc");
  decltype(&cuGreenCtxCreate) create = driver_function<decltype(&cuGreenCtxCreate)>("cuGreenCtxCreate");
  decltype(&cuGreenCtxDestroy) destroy = driver_function<decltype(&cuGreenCtxDestroy)>("cuGreenCtxDestroy");
  decltype(&cuGreenCtxStreamCreate) stream = driver_function<decltype(&cuGreenCtxStreamCreate)>("cuGreenCtxStreamCreate");
};

const Driver& driver() {
  static const Driver functions;
  return functions;
}

}  // namespace

struct SmPartitions::Context {
  explicit Context(CUgreenCtx made) : context(made) {}
  ~Context() { driver().destroy(context); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  CUgreenCtx context;
};

SmPartitions::SmPartitions(int gpu, std::int32_t parts) {
  if (parts < 1) throw InputError(fmt::format("a GPU cannot be cut into {} parts; expected at least 1", parts));
  check_cuda(cudaSetDevice(gpu), "cudaSetDevice");
  check_cuda(cudaFree(nullptr), "cudaFree(nullptr)");  // makes the primary context, which green ones need
  CUdevice device = 0;
  check_driver(driver().device_get(&device, gpu), "cuDeviceGet");
  CUdevResource whole{};
  check_driver(driver().device_resource(device, &whole, CU_DEV_RESOURCE_TYPE_SM), "cuDeviceGetDevResource");
  total_sms_ = static_cast<std::int32_t>(whole.sm.smCount);

  const auto wanted = static_cast<unsigned>(parts);
  const unsigned each = whole.sm.smCount / wanted;
  std::vector<CUdevResource> cut(wanted);
  unsigned groups = wanted;
  CUdevResource rest{};
  const CUresult status = driver().split(cut.data(), &groups, &whole, &rest, 0, std::max(1u, each));
  // The count is a least one: what the hardware rounds up may leave too little for the last part.
  if (status != CUDA_SUCCESS || groups < wanted) {
    constexpr unsigned kStep = 8;
    groups = wanted;
    check_driver(driver().split(cut.data(), &groups, &whole, &rest, 0, std::max(kStep, each / kStep * kStep)), "cuDevSmResourceSplitByCount");
  }
  if (groups < wanted) throw RunError(fmt::format("GPU {} with {} SMs can be cut into {} parts, not into {}", gpu, total_sms_, groups, parts));
  for (CUdevResource& part : cut) {
    CUdevResourceDesc description{};
    check_driver(driver().describe(&description, &part, 1), "cuDevResourceGenerateDesc");
    CUgreenCtx context = nullptr;
    check_driver(driver().create(&context, description, device, CU_GREEN_CTX_DEFAULT_STREAM), "cuGreenCtxCreate");
    contexts_.push_back(std::make_unique<Context>(context));
    sms_.push_back(static_cast<std::int32_t>(part.sm.smCount));
  }
}

SmPartitions::~SmPartitions() {
  for (cudaStream_t stream : streams_) cudaStreamDestroy(stream);
}

cudaStream_t SmPartitions::stream(std::int32_t part) {
  CUstream stream = nullptr;
  check_driver(driver().stream(&stream, contexts_.at(static_cast<std::size_t>(part))->context, CU_STREAM_NON_BLOCKING, 0), "cuGreenCtxStreamCreate");
  streams_.push_back(stream);
  return stream;
}

}  // namespace bubblescope
