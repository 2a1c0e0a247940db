// Links between ranks and what travels over several of them.
#include "sim/core/cluster.hpp"

#include <gtest/gtest.h>

#include <array>

namespace bubblescope {
namespace {

// Four ranks, 4000 bytes, 1 byte/ns, 10 ns: 6 steps of 10 + 1000 ns.
TEST(Cluster, an_all_reduce_is_a_ring_of_twice_n_minus_1_steps) {
  const Cluster cluster = uniform_cluster(4, {10, 1e9});
  EXPECT_EQ(cluster.all_reduce(std::array<Rank, 4>{0, 1, 2, 3}, 4000), 6 * 1010);
  EXPECT_EQ(cluster.all_reduce(std::array<Rank, 2>{0, 3}, 4000), 2 * 2010);
  EXPECT_EQ(cluster.all_reduce(std::array<Rank, 4>{0, 1, 2, 3}, 0), 60);
  EXPECT_EQ(all_reduce_bytes(4, 4000), 6000);  // 2 (n-1) / n of them
  EXPECT_EQ(all_reduce_bytes(2, 4000), 4000);
}

TEST(Cluster, alone_there_is_nothing_to_reduce) {
  EXPECT_EQ(uniform_cluster(2, {10, 1e9}).all_reduce(std::array<Rank, 1>{1}, 4000), 0);
  EXPECT_EQ(all_reduce_bytes(1, 4000), 0);
}

// 0 -> 2 -> 3 -> 0, and only 2 -> 3 is slow: every step waits for it.
TEST(Cluster, a_ring_goes_at_the_pace_of_its_slowest_link) {
  Cluster cluster = uniform_cluster(4, {10, 1e9});
  cluster.links.assign(16, cluster.link);
  cluster.links[2 * 4 + 3] = {10, 1e8};
  cluster.links[1 * 4 + 2] = {10, 1e6};  // not on its way
  EXPECT_EQ(cluster.all_reduce(std::array<Rank, 3>{0, 2, 3}, 3000), 4 * (10 + 10'000));
}

}  // namespace
}  // namespace bubblescope
