// Tensors on GPUs as bodies of parcels.
#include "backend/cuda/codec.hpp"

#include <memory>
#include <optional>
#include <utility>

#include "backend/cuda/gpu_body.hpp"
#include "backend/torch/allocations.hpp"
#include "backend/torch/tensor_bytes.hpp"

namespace bubblescope {

Parcel CudaCodec::encode(const Op& op, const Payload& payload) const {
  if (!payload.data || (op.kind != Kind::SEND_F && op.kind != Kind::SEND_B)) return TorchCodec::encode(op, payload);
  const torch::Tensor given = std::static_pointer_cast<const torch::Tensor>(payload.data)->detach();
  // The copy is this thread's stream's work, which the rank's stream does not wait for before it uses that memory again.
  if (!given.is_contiguous()) keep_for_this_stream(given);
  const torch::Tensor tensor = given.contiguous();
  if (!tensor.is_cuda() || tensor.nbytes() == 0) return TorchCodec::encode(op, payload);
  FieldsOut head;
  head.add(payload.bytes);
  add_shape(head, tensor);
  return {head.take(), body_of_tensor(tensor), static_cast<std::int64_t>(tensor.nbytes()), static_cast<std::int32_t>(tensor.device().index())};
}

Payload CudaCodec::decode(const Op& op, Parcel parcel) const {
  if (parcel.gpu < 0) return TorchCodec::decode(op, std::move(parcel));
  FieldsIn head(parcel.head);
  const auto bytes = head.get<std::int64_t>();
  const std::optional<TensorShape> shape = get_shape(head, parcel.bytes);
  const torch::Tensor memory = tensor_of_body(parcel.body);
  if (!shape || !memory.defined() || static_cast<std::int64_t>(memory.nbytes()) != parcel.bytes) throw RunError("what came to a GPU from another process is no tensor");
  return {std::make_shared<torch::Tensor>(memory.view({-1}).view(shape->type).view(shape->sizes)), bytes};
}

}  // namespace bubblescope
