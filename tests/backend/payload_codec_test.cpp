// Payloads of a backend that says nothing of what is in them: their size crosses.
#include "backend/payload_codec.hpp"

#include <gtest/gtest.h>

#include "backend/null.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

TEST(PayloadCodec, sizes_cross_and_nothing_else) {
  const NullBackend backend{StageCosts(1)};
  const PayloadCodec& codec = backend.codec();
  for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1} << 40}) {
    const Parcel parcel = codec.encode({}, {nullptr, bytes});
    EXPECT_EQ(parcel.body, nullptr);
    EXPECT_EQ(parcel.bytes, 0);
    const Payload payload = codec.decode({}, parcel);
    EXPECT_EQ(payload.bytes, bytes);
    EXPECT_EQ(payload.data, nullptr);
  }
}

TEST(PayloadCodec, a_parcel_of_something_else_is_an_error) {
  const PayloadCodec codec;
  EXPECT_THROW(codec.decode({}, {"short", nullptr, 0}), RunError);
}

}  // namespace
}  // namespace bubblescope
