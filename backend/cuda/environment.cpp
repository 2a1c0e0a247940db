// CUDA reads these once.
#include "backend/cuda/environment.hpp"

#include <cstdlib>

namespace bubblescope {

void set_cuda_environment(bool several_processes) {
  // Lanes beyond the number of connections would wait for each other.
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", /*overwrite=*/0);
  // Loading a kernel at its first launch may wait for all that runs on the GPU (CUDA Programming Guide, Lazy Loading, Concurrent
  // Execution). A send runs until the other process receives, which in turn may be loading while it sends: neither would go on.
  if (several_processes) setenv("CUDA_MODULE_LOADING", "EAGER", /*overwrite=*/0);
}

}  // namespace bubblescope
