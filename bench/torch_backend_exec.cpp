// The LibTorch backends of the program without LibTorch: it becomes the program that has them.
#include "bench/become.hpp"
#include "bench/torch_backend.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {

void need_backend(const std::string& name, const std::vector<std::string>& arguments) {
  if (name == "cpu") {
    become("bubblescope-torch", arguments,
           "the CPU backend is not part of this build; run ./setup, then 'cmake --preset release && cmake --build --preset release' (or use 'backend.name = \"null\"')");
  }
  if (name == "cuda") {
    become("bubblescope-cuda", arguments,
           "the CUDA backend is not part of this build; run './setup --cuda', then 'cmake --preset cuda && cmake --build --preset cuda' (or use 'backend.name = \"cpu\"')");
  }
}

// need_backend does not return for these, so they are never reached in this program.
std::unique_ptr<Transport> gpu_transport(const Launch&) { throw RunError("the CUDA backend is not part of this build"); }
void share_gpus(const Scenario&, World&) { throw RunError("the CUDA backend is not part of this build"); }
MakeBackend torch_backend_of(const Scenario&) { throw RunError("the LibTorch backends are not part of this build"); }
Trained train_with_torch(const Scenario&, const Experiment&, const TrainRequest&) { throw RunError("the LibTorch backends are not part of this build"); }

}  // namespace bubblescope
