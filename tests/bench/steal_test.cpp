// Steal time as read from text like /proc/stat.
#include "bench/steal.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sim/core/write_file.hpp"
#include "tests/backend/thread_processes.hpp"

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

/// Of 100 ticks since the last one, `stolen` were.
struct FakeCore {
  std::int64_t used = 0, stolen = 0;
  std::string next(std::int64_t more) { return fmt::format("cpu0 {} 0 0 0 0 0 0 {} 0 0\n", used += 100 - more, stolen += more); }
};

struct Piece {
  int number = 0;
  bool stopped = false;
};

TEST_F(Steal, what_it_disturbs_is_done_again_and_told) {
  FakeCore core;
  says(core.next(0));
  Undisturbed undisturbed(0.02, nullptr, StealMeter({0}, file_));
  int number = 0;
  const auto stealing = [&](std::vector<std::int64_t> ticks) {
    return undisturbed([&, ticks, i = std::size_t{0}]() mutable {
      says(core.next(ticks.at(std::min(i++, ticks.size() - 1))));
      return Piece{++number};
    });
  };
  EXPECT_EQ(stealing({0})->number, 1);
  EXPECT_TRUE(undisturbed.notes().empty());
  EXPECT_EQ(stealing({10, 3, 2})->number, 4) << "as much as it may is no reason";
  EXPECT_THAT(undisturbed.notes(), testing::ElementsAre("Other guests of the host took up to 2.0 % of a core's time in a calibration or run (steal time), in the median one 1.0 %. 2 others lost more than 2.0 % and were done again."));
  EXPECT_EQ(stealing({50})->number, 4 + Undisturbed::kAttempts);
  EXPECT_THAT(undisturbed.notes(), testing::ElementsAre(testing::EndsWith(" 21 others lost more than 2.0 % and were done again. 1 is kept that lost more, as it did 20 times in a row.")));
}

TEST_F(Steal, what_was_told_to_stop_is_not_done_again) {
  FakeCore core;
  says(core.next(0));
  Undisturbed undisturbed(0.02, nullptr, StealMeter({0}, file_));
  int times = 0;
  EXPECT_FALSE(undisturbed([&] {
                 says(core.next(50));
                 ++times;
                 return Piece{1, true};
               }).has_value());
  EXPECT_EQ(times, 1);
}

TEST_F(Steal, of_one_process_has_all_of_them_do_it_again) {
  ThreadProcesses processes(2);
  std::vector<int> times(2);
  const auto thrown = processes.run([&](World& world) {
    const std::filesystem::path file = file_.parent_path() / (world.first() ? "first" : "second");
    FakeCore core;
    write_file(file, core.next(0));
    Undisturbed undisturbed(0.02, &world, StealMeter({0}, file));
    int& mine = times[world.first() ? 0 : 1];
    undisturbed([&] {
      write_file(file, core.next(!world.first() && mine < 3 ? 40 : 0));
      return Piece{++mine};
    });
  });
  EXPECT_THAT(thrown, testing::Each(""));
  EXPECT_THAT(times, testing::ElementsAre(4, 4));
}

}  // namespace
}  // namespace bubblescope
