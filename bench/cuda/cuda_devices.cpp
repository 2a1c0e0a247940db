// LibTorch on GPUs, and on CPUs.
#include "backend/cuda/backend.hpp"
#include "bench/torch/devices.hpp"
#include "bench/torch_backend.hpp"

namespace bubblescope {

void need_backend(const std::string&, const std::vector<std::string>&) {}

std::unique_ptr<Backend> make_backend(const Scenario& scenario, TorchConfig config) {
  const BackendConfig& backend = scenario.backend;
  if (backend.name == "cpu") return torch_backend(std::move(config));
  CudaConfig cuda;
  cuda.placement = backend.devices == "partitions" ? Placement::partitions : backend.devices == "streams" ? Placement::streams : Placement::gpus;
  cuda.gpu = static_cast<int>(backend.gpu);
  cuda.streams.transport = backend.transport == "copy" ? Carrying::copy : backend.transport == "nccl" ? Carrying::nccl : Carrying::share;
  cuda.tell_cublas_sms = backend.cublas_sms;
  cuda.graphs = backend.graphs;
  return cuda_backend(std::move(config), cuda);
}

}  // namespace bubblescope
