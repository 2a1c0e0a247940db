// Tensors as bytes, for other processes.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/fields.hpp"

namespace bubblescope {

/// Type and shape; undefined tensors have them, too.
void add_shape(FieldsOut& out, const torch::Tensor& tensor);
struct TensorShape {
  torch::Dtype type = torch::kFloat32;
  std::vector<std::int64_t> sizes;
};
/// The next shape; none where the tensor was undefined. Throws RunError where a tensor of it has not `bytes`.
std::optional<TensorShape> get_shape(FieldsIn& in, std::int64_t bytes);
/// A tensor of the next shape with the memory at `data`, kept by `owner`; `data` must be as large as the shape says
/// (RunError). Undefined where that was.
torch::Tensor get_tensor(FieldsIn& in, void* data, std::int64_t bytes, std::shared_ptr<const void> owner);

/// On the CPU, whatever they were on.
std::string tensors_to_bytes(const std::vector<torch::Tensor>& tensors);
std::string tensors_to_bytes(const std::map<std::string, torch::Tensor>& tensors);
/// With memory of their own. Throw RunError where the bytes are something else.
std::vector<torch::Tensor> tensors_from_bytes(std::string_view bytes);
std::map<std::string, torch::Tensor> named_tensors_from_bytes(std::string_view bytes);

}  // namespace bubblescope
