// Steal time as read from text like /proc/stat.
#include "bench/steal.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "sim/core/write_file.hpp"

namespace bubblescope {
namespace {

class Steal : public testing::Test {
 protected:
  Steal() { std::filesystem::create_directories(file_.parent_path()); }
  ~Steal() override { std::filesystem::remove_all(file_.parent_path()); }
  void says(const std::string& text) { write_file(file_, text); }
  std::filesystem::path file_ = std::filesystem::temp_directory_path() / ("bubblescope-steal-" + std::to_string(::getpid())) / "stat";
};

TEST_F(Steal, is_the_largest_part_of_the_time_of_one_of_the_cores_that_count) {
  says("cpu  300 0 0 0 0 0 0 30 0 0\ncpu0 100 0 0 0 0 0 0 10 0 0\ncpu1 100 0 0 0 0 0 0 10 0 0\ncpu2 100 0 0 0 0 0 0 10 0 0\nintr 5\n");
  StealMeter all({0, 1, 2}, file_), two({0, 1}, file_);
  EXPECT_EQ(all.share(), 0) << "no time has passed";
  // Of 100 ticks: 4, 10 (of all kinds of time, guests' not counted again) and 50.
  says("cpu0 196 0 0 0 0 0 0 14 0 0\ncpu1 150 10 10 10 5 3 2 20 90 90\ncpu2 150 0 0 0 0 0 0 60 0 0\n");
  EXPECT_DOUBLE_EQ(all.share(), 0.5);
  EXPECT_DOUBLE_EQ(two.share(), 0.1);
  two.begin();
  EXPECT_EQ(two.share(), 0);
}

TEST_F(Steal, is_none_where_the_system_does_not_say) {
  EXPECT_EQ(StealMeter({0}, file_).share(), 0);
  says("cpu0 1 2 3\n");
  StealMeter meter({0, 7}, file_);
  says("cpu0 100 2 3 4 5 6 7 8\ncpuX\n");
  EXPECT_EQ(meter.share(), 0);
}

}  // namespace
}  // namespace bubblescope
