// The hardware catalog: names, precisions and the form of its entries.
#include "sim/workload/hardware.hpp"

#include <gtest/gtest.h>

#include <set>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

TEST(Hardware, names_are_unique_and_found) {
  std::set<std::string> seen;
  for (const std::string& name : hardware_names()) {
    EXPECT_TRUE(seen.insert(name).second) << name;
    EXPECT_EQ(hardware(name).name, name);
    EXPECT_GT(hardware(name).float32, 0);
    EXPECT_GT(hardware(name).memory_bandwidth, 0);
  }
}

// NVIDIA A100 80GB SXM data sheet: 19.5 TFLOPS float32, 312 bfloat16 dense, 2,039 GB/s, 80 GB.
TEST(Hardware, a_device_spec_takes_the_peak_of_its_precision) {
  EXPECT_DOUBLE_EQ(device_spec(hardware("a100-80g"), Precision::float32).flops, 19.5e12);
  EXPECT_DOUBLE_EQ(device_spec(hardware("a100-80g"), Precision::bfloat16).flops, 312e12);
  EXPECT_DOUBLE_EQ(device_spec(hardware("a100-80g"), Precision::float32).memory_bandwidth, 2039e9);
  EXPECT_EQ(device_spec(hardware("a100-80g"), Precision::float32).memory_bytes, std::int64_t{80} << 30);
}

TEST(Hardware, a_precision_that_the_device_lacks_is_refused) {
  EXPECT_THROW(device_spec(hardware("v100"), Precision::bfloat16), InputError);
  EXPECT_THROW(device_spec(hardware("cpu"), Precision::tf32), InputError);
}

TEST(Hardware, unknown_names_are_refused_with_the_nearest_one) {
  try {
    hardware("h20");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'h"), std::string::npos) << error.what();
  }
  EXPECT_THROW(precision_from_name("fp32"), InputError);
}

TEST(Hardware, precisions_have_their_element_size) {
  EXPECT_EQ(precision_bytes(precision_from_name("float64")), 8);
  EXPECT_EQ(precision_bytes(precision_from_name("float32")), 4);
  EXPECT_EQ(precision_bytes(precision_from_name("tf32")), 4);
  EXPECT_EQ(precision_bytes(precision_from_name("bfloat16")), 2);
  EXPECT_EQ(weight_bytes(precision_from_name("bfloat16")), 4);
  EXPECT_EQ(weight_bytes(precision_from_name("float64")), 8);
}

}  // namespace
}  // namespace bubblescope
