// LibTorch on CPUs alone.
#include "bench/become.hpp"
#include "bench/torch/devices.hpp"
#include "bench/torch_backend.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

void need_backend(const std::string& name, const std::vector<std::string>& arguments) {
  if (name == "cuda") become("bubblescope-cuda", arguments, "the CUDA backend is not part of this build; run './setup --cuda', then 'cmake --preset cuda && cmake --build --preset cuda'");
}

// need_backend does not return for GPUs, so they are never reached in this program.
std::unique_ptr<Transport> gpu_transport(const Launch&) { throw RunError("this program computes on CPUs alone"); }
void share_gpus(const Scenario&, World&) { throw RunError("this program computes on CPUs alone"); }

std::unique_ptr<Backend> make_backend(const Scenario& scenario, TorchConfig config) {
  if (scenario.backend.name != "cpu") throw RunError("this program computes on CPUs alone");
  return torch_backend(std::move(config));
}

}  // namespace bubblescope
