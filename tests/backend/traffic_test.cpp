// Traffic beside a calibration: what is sent comes, not too much at once, and it is over when it says so.
#include "backend/traffic.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>

#include "tests/backend/thread_processes.hpp"

namespace bubblescope {
namespace {

class CountingCodec : public PayloadCodec {
 public:
  Parcel encode(const Op& op, const Payload& payload) const override {
    ++encoded;
    return PayloadCodec::encode(op, payload);
  }
  Payload decode(const Op& op, Parcel parcel) const override {
    EXPECT_EQ(op.kind, Kind::SEND_F);
    const Payload payload = PayloadCodec::decode(op, std::move(parcel));
    EXPECT_EQ(payload.bytes, 77);
    return payload;
  }
  mutable std::atomic<std::int64_t> encoded{0};
};

Op a_send() {
  Op op;
  op.kind = Kind::SEND_F;
  op.stage = 0;
  op.microbatch = 0;
  return op;
}

TEST(Traffic, all_of_it_has_come_once_it_has_settled) {
  const auto thrown = ThreadProcesses(2).run([&](World& world) {
    CountingCodec codec;
    Traffic traffic(world, codec, 4);
    // Ranks 0 and 1 are of process 0, where messages to them stay.
    for (int i = 0; i < 20 && world.first(); ++i) {
      traffic.send(a_send(), {nullptr, 77}, 1);
      traffic.send(a_send(), {nullptr, 77}, i % 2 + 2);
      world.poll();
    }
    traffic.settle();
    EXPECT_EQ(codec.encoded > 0, world.first());
    EXPECT_LE(codec.encoded, 20);
    const std::vector<std::string> sent = world.gather_all(std::to_string(codec.encoded));
    EXPECT_EQ(std::to_string(traffic.received()), world.first() ? sent[1] : sent[0]);
  });
  EXPECT_THAT(thrown, testing::Each(""));
}

TEST(Traffic, no_more_is_under_way_than_a_link_can_take) {
  const auto thrown = ThreadProcesses(2, {.most_delay = 20 * kMillisecond, .seed = 1}).run([&](World& world) {
    CountingCodec codec;
    Traffic traffic(world, codec, 2);
    for (int i = 0; i < 1000; ++i) traffic.send(a_send(), {nullptr, 77}, world.first() ? 1 : 0);
    EXPECT_GE(codec.encoded, Traffic::kMost);
    EXPECT_LT(codec.encoded, 500);
    traffic.settle();
    const auto before = codec.encoded.load();
    traffic.send(a_send(), {nullptr, 77}, world.first() ? 1 : 0);
    EXPECT_EQ(codec.encoded, before + 1) << "there is room again";
    traffic.settle();
  });
  EXPECT_THAT(thrown, testing::Each(""));
}

}  // namespace
}  // namespace bubblescope
