// GPUs and streams of ranks.
#include "backend/cuda/lanes.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "sim/core/error.hpp"
#include "tests/backend/cuda/gpu.hpp"

namespace bubblescope {
namespace {

TEST(CudaLanes, without_a_gpu_it_says_what_to_use_instead) {
  if (count_gpus() > 0) GTEST_SKIP() << "there is a GPU";
  try {
    CudaLanes(Placement::partitions, 4, 0);
    FAIL();
  } catch (const RunError& error) {
    EXPECT_NE(std::string(error.what()).find("finds no GPU"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("cpu"), std::string::npos);
  }
}

TEST(CudaLanes, more_gpus_than_there_are_is_an_error) {
  BUBBLESCOPE_NEEDS_GPU();
  EXPECT_THROW(CudaLanes(Placement::gpus, count_gpus() + 1, 0), RunError);
}

TEST(CudaLanes, every_rank_has_streams_of_its_own_which_stay) {
  BUBBLESCOPE_NEEDS_GPU();
  for (const Placement placement : {Placement::partitions, Placement::streams}) {
    CudaLanes lanes(placement, 2, 0);
    std::set<cudaStream_t> streams;
    for (Rank rank = 0; rank < 2; ++rank) {
      for (std::size_t k = 0; k < 3; ++k) streams.insert(lanes.stream(rank, k));
    }
    EXPECT_EQ(streams.size(), 6u);
    EXPECT_EQ(lanes.stream(1, 2), lanes.stream(1, 2));
    EXPECT_EQ(lanes.sms().size(), 2u);
    EXPECT_NE(lanes.describe().find("SMs"), std::string::npos);
  }
}

}  // namespace
}  // namespace bubblescope
