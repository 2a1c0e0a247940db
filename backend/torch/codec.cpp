// Tensors into parcels and out of them.
#include "backend/torch/codec.hpp"

#include <memory>
#include <utility>
#include <vector>

#include "backend/torch/copy_state.hpp"
#include "backend/torch/tensor_bytes.hpp"

namespace bubblescope {
namespace {

constexpr std::uint8_t kNothing = 0, kTensor = 1, kCopyState = 2;

std::shared_ptr<const void> owned(std::string bytes, std::int64_t& size) {
  const auto kept = std::make_shared<const std::string>(std::move(bytes));
  size = static_cast<std::int64_t>(kept->size());
  return {kept, kept->data()};
}

}  // namespace

Parcel TorchCodec::encode(const Op& op, const Payload& payload) const {
  Parcel parcel;
  FieldsOut head;
  head.add(payload.bytes);
  if (!payload.data) {
    head.add(kNothing);
  } else if (op.kind == Kind::ALLREDUCE) {
    const auto& state = *std::static_pointer_cast<const CopyState>(payload.data);
    parcel.body = owned(FieldsOut().add(tensors_to_bytes(state.gradients)).add(tensors_to_bytes(state.statistics)).take(), parcel.bytes);
    head.add(kCopyState);
  } else {
    const torch::Tensor tensor = std::static_pointer_cast<const torch::Tensor>(payload.data)->detach().cpu().contiguous();
    head.add(kTensor);
    add_shape(head, tensor);
    parcel.bytes = static_cast<std::int64_t>(tensor.nbytes());
    parcel.body = std::shared_ptr<const void>(std::make_shared<const torch::Tensor>(tensor), tensor.data_ptr());
    if (parcel.bytes == 0) parcel.body = nullptr;
  }
  parcel.head = head.take();
  return parcel;
}

Payload TorchCodec::decode(const Op&, Parcel parcel) const {
  FieldsIn head(parcel.head);
  Payload payload{nullptr, head.get<std::int64_t>()};
  const auto kind = head.get<std::uint8_t>();
  if (kind == kTensor) {
    void* const data = const_cast<void*>(parcel.body.get());  // nobody else has it
    payload.data = std::make_shared<torch::Tensor>(get_tensor(head, data, parcel.bytes, std::move(parcel.body)));
  } else if (kind == kCopyState) {
    FieldsIn body(std::string_view(static_cast<const char*>(parcel.body.get()), static_cast<std::size_t>(parcel.bytes)));
    auto state = std::make_shared<CopyState>();
    state->gradients = tensors_from_bytes(body.get<std::string>());
    state->statistics = tensors_from_bytes(body.get<std::string>());
    payload.data = std::move(state);
  }
  return payload;
}

}  // namespace bubblescope
