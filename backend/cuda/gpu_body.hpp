// Bodies of parcels that are tensors on GPUs: whoever gets one finds the tensor again, and so the memory's owner.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <utility>

namespace bubblescope {

/// Keeps a tensor as long as a body is kept.
struct TensorKeeper {
  at::Tensor tensor;
  void operator()(const void*) noexcept { tensor = at::Tensor(); }
};

/// The memory of `tensor`, which is contiguous.
inline std::shared_ptr<const void> body_of_tensor(at::Tensor tensor) {
  const void* const data = tensor.const_data_ptr();
  return {data, TensorKeeper{std::move(tensor)}};
}

/// The tensor that was made a body; undefined where the body is something else.
inline at::Tensor tensor_of_body(const std::shared_ptr<const void>& body) {
  const TensorKeeper* const keeper = std::get_deleter<TensorKeeper>(body);
  return keeper != nullptr ? keeper->tensor : at::Tensor();
}

}  // namespace bubblescope
