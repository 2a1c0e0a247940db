// Traffic beside a calibration: what is sent comes, not too much at once, and it is over when it says so.
#include "backend/traffic.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
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
    ++decoded;
    return payload;
  }
  mutable std::atomic<std::int64_t> encoded{0}, decoded{0};
};

Op a_send() {
  Op op;
  op.kind = Kind::SEND_F;
  op.stage = 0;
  op.microbatch = 0;
  return op;
}

TEST(Traffic, all_of_it_has_come_once_it_has_settled) {
  std::array<CountingCodec, 3> codecs;
  const auto thrown = ThreadProcesses(3, {.most_delay = 5 * kMillisecond, .seed = 1}).run([&](World& world) {
    const auto process = static_cast<std::size_t>(world.process());
    Traffic traffic(world, codecs[process], 6);
    // Ranks 2 and 3 are of process 1, where messages to them stay; the others' go to process 2.
    for (int round = 0; round < 5; ++round) {
      for (int i = 0; i < 20 && process == 1; ++i) {
        traffic.send(a_send(), {nullptr, 77}, 2);
        traffic.send(a_send(), {nullptr, 77}, 4 + i % 2);
        world.poll();
      }
      traffic.settle();
      if (process == 2) {  // process 1 sends no more before the barrier
        EXPECT_EQ(codecs[2].decoded, codecs[1].encoded);
      }
      world.barrier();
    }
  });
  EXPECT_THAT(thrown, testing::Each(""));
  EXPECT_GT(codecs[1].encoded, 5);
  EXPECT_LE(codecs[1].encoded, 100);
  EXPECT_EQ(codecs[0].encoded + codecs[2].encoded + codecs[0].decoded + codecs[1].decoded, 0);
}

// Two of each, whatever goes to the other.
TEST(Traffic, every_process_has_room_of_its_own) {
  const auto thrown = ThreadProcesses(3, {.most_delay = 50 * kMillisecond, .seed = 1}).run([&](World& world) {
    CountingCodec codec;
    Traffic traffic(world, codec, 3);
    if (world.first()) {
      for (const Rank to : {1, 1, 2, 2}) traffic.send(a_send(), {nullptr, 77}, to);
      EXPECT_EQ(codec.encoded, 4);
    }
    traffic.settle();
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
    world.wait([&] {  // until there is room again
      traffic.send(a_send(), {nullptr, 77}, world.first() ? 1 : 0);
      return codec.encoded > before;
    });
    traffic.settle();
  });
  EXPECT_THAT(thrown, testing::Each(""));
}

}  // namespace
}  // namespace bubblescope
