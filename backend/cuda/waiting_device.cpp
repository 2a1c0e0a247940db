// Waiting for a stream.
#include "backend/cuda/waiting_device.hpp"

#include "backend/cuda/errors.hpp"

namespace bubblescope {

void WaitingDevice::wait() const { check_cuda(cudaStreamSynchronize(stream_.stream()), "cudaStreamSynchronize"); }

}  // namespace bubblescope
