// Tensors to bytes and back.
#include "backend/torch/tensor_bytes.hpp"

#include <cstring>
#include <utility>

namespace bubblescope {
namespace {

constexpr std::int8_t kUndefined = -1;

void add_tensor(FieldsOut& out, const torch::Tensor& tensor) {
  add_shape(out, tensor);
  if (!tensor.defined()) return;
  const torch::Tensor here = tensor.detach().cpu().contiguous();
  out.add(std::string(static_cast<const char*>(here.data_ptr()), here.nbytes()));
}

torch::Tensor read_tensor(FieldsIn& in) {
  FieldsIn ahead = in;
  if (ahead.get<std::int8_t>() == kUndefined) {
    in = ahead;
    return {};
  }
  ahead.get<std::vector<std::int64_t>>();
  auto data = ahead.get<std::string>();
  const torch::Tensor tensor = get_tensor(in, data.data(), static_cast<std::int64_t>(data.size()), nullptr).clone();
  in = ahead;
  return tensor;
}

}  // namespace

void add_shape(FieldsOut& out, const torch::Tensor& tensor) {
  out.add(tensor.defined() ? static_cast<std::int8_t>(tensor.scalar_type()) : kUndefined);
  if (tensor.defined()) out.add(tensor.sizes().vec());
}

std::optional<TensorShape> get_shape(FieldsIn& in, std::int64_t bytes) {
  const auto type = in.get<std::int8_t>();
  if (type == kUndefined) return std::nullopt;
  if (type < 0 || type >= static_cast<std::int8_t>(c10::ScalarType::NumOptions)) throw RunError("a tensor from another process has no known type");
  TensorShape shape{static_cast<c10::ScalarType>(type), in.get<std::vector<std::int64_t>>()};
  std::int64_t expected = static_cast<std::int64_t>(c10::elementSize(shape.type));
  for (const std::int64_t size : shape.sizes) expected *= size;
  if (expected != bytes) throw RunError("a tensor from another process has not as many bytes as its shape says");
  return shape;
}

torch::Tensor get_tensor(FieldsIn& in, void* data, std::int64_t bytes, std::shared_ptr<const void> owner) {
  const std::optional<TensorShape> shape = get_shape(in, bytes);
  if (!shape) return {};
  if (bytes == 0) return torch::empty(shape->sizes, shape->type);
  return torch::from_blob(data, shape->sizes, [owner = std::move(owner)](void*) {}, shape->type);
}

std::string tensors_to_bytes(const std::vector<torch::Tensor>& tensors) {
  FieldsOut out;
  out.add(static_cast<std::uint64_t>(tensors.size()));
  for (const torch::Tensor& tensor : tensors) add_tensor(out, tensor);
  return out.take();
}

std::string tensors_to_bytes(const std::map<std::string, torch::Tensor>& tensors) {
  FieldsOut out;
  out.add(static_cast<std::uint64_t>(tensors.size()));
  for (const auto& [name, tensor] : tensors) {
    out.add(name);
    add_tensor(out, tensor);
  }
  return out.take();
}

std::vector<torch::Tensor> tensors_from_bytes(std::string_view bytes) {
  FieldsIn in(bytes);
  const auto count = in.get<std::uint64_t>();
  std::vector<torch::Tensor> tensors;
  for (std::uint64_t i = 0; i < count; ++i) tensors.push_back(read_tensor(in));
  return tensors;
}

std::map<std::string, torch::Tensor> named_tensors_from_bytes(std::string_view bytes) {
  FieldsIn in(bytes);
  const auto count = in.get<std::uint64_t>();
  std::map<std::string, torch::Tensor> tensors;
  for (std::uint64_t i = 0; i < count; ++i) {
    auto name = in.get<std::string>();
    tensors.emplace(std::move(name), read_tensor(in));
  }
  return tensors;
}

}  // namespace bubblescope
