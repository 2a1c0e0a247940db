// Several rounds, and several schedules, become one calibration.
#include "bench/pool.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace bubblescope {
namespace {

Quartiles around(Nanos median) { return {median - 10, median, median + 10, 5}; }

TEST(PoolOps, takes_the_median_round_of_device_and_host_times) {
  std::vector<Calibration> rounds(3);
  for (std::size_t i = 0; i < 3; ++i) {
    const Nanos median = 100 * (static_cast<Nanos>(i) + 1);
    rounds[i].ops = {{0, Kind::F, {around(median), median + 7}, {}, 0, around(20)}, {0, Kind::B, {around(median)}, {}, 0}};
  }
  const Measurement pooled = pool_ops({"s", 1, 1, {}}, rounds);
  ASSERT_EQ(pooled.ops.size(), 2u);
  EXPECT_EQ(pooled.ops[0].alone, (OpTimes{{190, 200, 210, 15}, 207}));
  EXPECT_EQ(pooled.ops[1].alone.expected(), 200);
  EXPECT_EQ(pooled.ops[0].busy.count, 0);
  EXPECT_EQ(pooled.ops[0].host.median, 20);
}

// 5 us and 20 GB/s in one schedule; the other measured no messages by size, only its hand-over.
TEST(PoolNetworks, fits_latency_and_bandwidth_to_all_messages_together) {
  Calibration by_size, without;
  for (const std::int64_t bytes : {std::int64_t{1} << 10, std::int64_t{1} << 20, std::int64_t{1} << 24}) by_size.messages.one_way.push_back({bytes, around(5'000 + bytes / 20)});
  without.handover = around(999);
  const std::vector<Network> networks{pool_network({&by_size, 1}), pool_network({&without, 1})};
  EXPECT_NEAR(static_cast<double>(networks[0].handover), 5'000, 5);
  EXPECT_EQ(networks[1].handover, 999);
  EXPECT_EQ(networks[1].bandwidth, 0);
  const Network all = pool_networks(networks);
  EXPECT_NEAR(static_cast<double>(all.handover), 5'000, 5);
  EXPECT_NEAR(all.bandwidth, 20e9, 1e7);
  EXPECT_EQ(all.messages.one_way.size(), 3u);
}

}  // namespace
}  // namespace bubblescope
