// What a copy of a stage contributes to an ALLREDUCE with its other copies.
#pragma once

#include <torch/torch.h>

#include <vector>

namespace bubblescope {

struct CopyState {
  std::vector<torch::Tensor> gradients;   ///< by parameter; the ones it goes on with are others
  std::vector<torch::Tensor> statistics;  ///< by buffer: copies, for the buffers themselves change in place
};

}  // namespace bubblescope
