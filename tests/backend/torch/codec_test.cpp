// Payloads of torch devices in parcels: messages lie where they came, contributions come whole.
#include "backend/torch/codec.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstring>
#include <memory>
#include <utility>

#include "backend/torch/copy_state.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

Op of(Kind kind) {
  Op op;
  op.kind = kind;
  return op;
}

Payload of(const torch::Tensor& tensor) { return {std::make_shared<torch::Tensor>(tensor), static_cast<std::int64_t>(tensor.nbytes())}; }
const torch::Tensor& tensor_of(const Payload& payload) { return *std::static_pointer_cast<torch::Tensor>(payload.data); }

/// As another process receives it: in memory of its own.
Parcel carried(const Parcel& parcel) {
  Parcel there{parcel.head, nullptr, parcel.bytes};
  if (!parcel.body) return there;
  const std::shared_ptr<char[]> memory(new char[static_cast<std::size_t>(parcel.bytes)]);
  std::memcpy(memory.get(), parcel.body.get(), static_cast<std::size_t>(parcel.bytes));
  there.body = std::shared_ptr<const void>(memory, memory.get());
  return there;
}

TEST(TorchCodec, a_message_is_sent_from_where_it_lies_and_lies_where_it_came) {
  const TorchCodec codec;
  const torch::Tensor sent = torch::randn({8, 3, 5});
  const Parcel parcel = codec.encode(of(Kind::SEND_F), of(sent));
  EXPECT_EQ(parcel.body.get(), sent.data_ptr());
  EXPECT_EQ(parcel.bytes, 8 * 3 * 5 * 4);
  EXPECT_LE(static_cast<std::int64_t>(parcel.head.size()), 2048);
  const Parcel there = carried(parcel);
  const Payload payload = codec.decode(of(Kind::SEND_F), there);
  EXPECT_EQ(payload.bytes, 8 * 3 * 5 * 4);
  EXPECT_EQ(tensor_of(payload).data_ptr(), there.body.get());
  EXPECT_TRUE(torch::equal(tensor_of(payload), sent));
  EXPECT_FALSE(tensor_of(payload).requires_grad());
}

TEST(TorchCodec, a_message_outlives_the_tensor_it_was_made_of) {
  const TorchCodec codec;
  Parcel parcel;
  {
    const torch::Tensor gone = torch::full({1000}, 3.0);
    parcel = codec.encode(of(Kind::SEND_B), of(gone));
  }
  const torch::Tensor other = torch::zeros({1000});
  EXPECT_TRUE(torch::equal(tensor_of(codec.decode(of(Kind::SEND_B), carried(parcel))), torch::full({1000}, 3.0)));
}

TEST(TorchCodec, what_does_not_lie_in_order_is_sent_in_order) {
  const TorchCodec codec;
  const torch::Tensor base = torch::randn({4, 6}, torch::kFloat64);
  for (const torch::Tensor& sent : {base.t(), base.slice(1, 2, 5), torch::randn({2, 3, 4, 4}).contiguous(torch::MemoryFormat::ChannelsLast), torch::zeros({}), torch::empty({0, 2}), torch::ones({3}, torch::kBFloat16),
                                    torch::ones({2}, torch::requires_grad())}) {
    const torch::Tensor back = tensor_of(codec.decode(of(Kind::SEND_F), carried(codec.encode(of(Kind::SEND_F), of(sent)))));
    EXPECT_EQ(back.scalar_type(), sent.scalar_type());
    EXPECT_EQ(back.sizes(), sent.sizes());
    EXPECT_TRUE(torch::equal(back, sent));
  }
}

TEST(TorchCodec, nothing_is_nothing) {
  const TorchCodec codec;
  const Parcel parcel = codec.encode(of(Kind::SYNC), {nullptr, 12});
  EXPECT_EQ(parcel.body, nullptr);
  const Payload payload = codec.decode(of(Kind::SYNC), carried(parcel));
  EXPECT_EQ(payload.data, nullptr);
  EXPECT_EQ(payload.bytes, 12);
}

TEST(TorchCodec, a_squared_norm_at_a_barrier_keeps_every_bit) {
  const TorchCodec codec;
  const torch::Tensor squares = torch::full({}, 1.0 / 3.0, torch::kFloat64);
  EXPECT_EQ(tensor_of(codec.decode(of(Kind::SYNC), carried(codec.encode(of(Kind::SYNC), of(squares))))).item<double>(), 1.0 / 3.0);
}

TEST(TorchCodec, gradients_and_statistics_of_a_copy_come_whole) {
  const TorchCodec codec;
  auto state = std::make_shared<CopyState>();
  state->gradients = {torch::randn({3, 4}), torch::Tensor(), torch::randn({5}, torch::kFloat64)};
  state->statistics = {torch::randn({2}), torch::full({}, 7, torch::kInt64)};
  const Parcel parcel = codec.encode(of(Kind::ALLREDUCE), {state, 99});
  EXPECT_LE(static_cast<std::int64_t>(parcel.head.size()), 2048);
  const Payload payload = codec.decode(of(Kind::ALLREDUCE), carried(parcel));
  EXPECT_EQ(payload.bytes, 99);
  const auto back = std::static_pointer_cast<CopyState>(payload.data);
  ASSERT_EQ(back->gradients.size(), 3u);
  ASSERT_EQ(back->statistics.size(), 2u);
  EXPECT_TRUE(torch::equal(back->gradients[0], state->gradients[0]));
  EXPECT_FALSE(back->gradients[1].defined());
  EXPECT_TRUE(torch::equal(back->gradients[2], state->gradients[2]));
  EXPECT_TRUE(torch::equal(back->statistics[0], state->statistics[0]));
  EXPECT_EQ(back->statistics[1].item<std::int64_t>(), 7);
}

TEST(TorchCodec, a_parcel_that_lost_some_of_its_body_is_an_error) {
  const TorchCodec codec;
  Parcel parcel = carried(codec.encode(of(Kind::SEND_F), of(torch::ones({10}))));
  parcel.bytes -= 4;
  EXPECT_THROW(codec.decode(of(Kind::SEND_F), std::move(parcel)), RunError);
  EXPECT_THROW(codec.decode(of(Kind::SEND_F), {"", nullptr, 0}), RunError);
}

}  // namespace
}  // namespace bubblescope
