// SM partitions of one GPU.
#include "backend/cuda/partitions.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "sim/core/error.hpp"
#include "tests/backend/cuda/gpu.hpp"

namespace bubblescope {
namespace {

TEST(SmPartitions, no_parts_are_refused) { EXPECT_THROW(SmPartitions(0, 0), InputError); }

TEST(SmPartitions, are_equal_and_together_no_more_than_the_gpu) {
  BUBBLESCOPE_NEEDS_GPU();
  for (const std::int32_t parts : {1, 2, 4}) {
    const SmPartitions partitions(0, parts);
    ASSERT_EQ(partitions.sms().size(), static_cast<std::size_t>(parts));
    for (const std::int32_t sms : partitions.sms()) EXPECT_EQ(sms, partitions.sms().front());
    EXPECT_LE(std::accumulate(partitions.sms().begin(), partitions.sms().end(), 0), partitions.total_sms());
    // Not more than what rounding takes is lost.
    EXPECT_GT(partitions.sms().front(), partitions.total_sms() / parts - 16);
  }
}

TEST(SmPartitions, too_many_parts_are_an_error) {
  BUBBLESCOPE_NEEDS_GPU();
  EXPECT_THROW(SmPartitions(0, 10'000), RunError);
}

}  // namespace
}  // namespace bubblescope
