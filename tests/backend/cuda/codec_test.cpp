// Payloads of ranks on GPUs as parcels; without a GPU those that lie in the host's memory.
#include "backend/cuda/codec.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include "backend/cuda/gpu_body.hpp"
#include "backend/torch/tensor_bytes.hpp"
#include "tests/backend/cuda/gpu.hpp"

namespace bubblescope {
namespace {

Op of(Kind kind) {
  Op op;
  op.kind = kind;
  return op;
}

Payload payload(at::Tensor tensor) {
  const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
  return {std::make_shared<at::Tensor>(std::move(tensor)), bytes};
}

const at::Tensor& tensor_of(const Payload& payload) { return *std::static_pointer_cast<at::Tensor>(payload.data); }

TEST(CudaCodec, a_tensor_of_the_host_goes_as_ever) {
  const CudaCodec codec;
  const at::Tensor sent = at::arange(12, at::kFloat).view({3, 4});
  Parcel parcel = codec.encode(of(Kind::SEND_F), payload(sent));
  EXPECT_EQ(parcel.gpu, -1);
  EXPECT_TRUE(tensor_of(codec.decode(of(Kind::SEND_F), std::move(parcel))).equal(sent));
  EXPECT_EQ(codec.decode(of(Kind::SYNC), codec.encode(of(Kind::SYNC), {})).data, nullptr);
}

/// As a transport would bring it to GPU 0; the memory may be any.
Parcel arrival(const at::Tensor& memory, const std::vector<std::int64_t>& sizes) {
  FieldsOut head;
  head.add(std::int64_t{24});
  add_shape(head, at::full(sizes, 0.0, at::kFloat));
  return {head.take(), body_of_tensor(memory), static_cast<std::int64_t>(memory.nbytes()), 0};
}

TEST(CudaCodec, what_arrives_is_the_received_memory_itself) {
  const at::Tensor values = at::arange(6, at::kFloat);
  const at::Tensor memory = values.clone().view(at::kByte);
  const Payload came = CudaCodec().decode(of(Kind::SEND_B), arrival(memory, {2, 3}));
  EXPECT_EQ(came.bytes, 24);
  EXPECT_TRUE(tensor_of(came).equal(values.view({2, 3})));
  EXPECT_TRUE(tensor_of(came).storage().is_alias_of(memory.storage()));
}

TEST(CudaCodec, refuses_what_is_no_tensor_of_that_shape) {
  const at::Tensor memory = at::full({24}, 0, at::kByte);
  EXPECT_THROW(CudaCodec().decode(of(Kind::SEND_B), arrival(memory, {2, 2})), RunError);
  Parcel foreign = arrival(memory, {2, 3});
  foreign.body = std::make_shared<int>();
  EXPECT_THROW(CudaCodec().decode(of(Kind::SEND_B), std::move(foreign)), RunError);
}

TEST(CudaCodec, a_message_stays_on_its_gpu_and_a_contribution_does_not) {
  BUBBLESCOPE_NEEDS_GPU();
  const CudaCodec codec;
  const at::Tensor sent = at::arange(12, at::TensorOptions(at::kFloat).device(at::kCUDA, 0)).view({3, 4}).t();
  Parcel parcel = codec.encode(of(Kind::SEND_F), payload(sent));
  EXPECT_EQ(parcel.gpu, 0);
  EXPECT_TRUE(tensor_of_body(parcel.body).is_cuda());
  EXPECT_EQ(codec.encode(of(Kind::SYNC), payload(sent)).gpu, -1);
}

}  // namespace
}  // namespace bubblescope
