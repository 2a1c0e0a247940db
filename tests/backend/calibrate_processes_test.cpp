// Calibration of ranks in several processes: what all of them know afterwards, messages beside ops, stops and losses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/calibrate.hpp"
#include "backend/cores.hpp"
#include "backend/null.hpp"
#include "backend/payload_codec.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/backend/thread_processes.hpp"

namespace bubblescope {
namespace {

Program scheduled(const std::string& name, std::int32_t ranks, std::int32_t microbatches) {
  return generate(find_schedule(name), {.ranks = ranks, .microbatches = microbatches});
}

StageCosts slow_costs(std::int32_t stages) {
  StageCosts costs(stages);
  for (Stage s = 0; s < stages; ++s) {
    costs.at(s, Kind::F).duration = 300 * kMicrosecond;
    costs.at(s, Kind::B).duration = 600 * kMicrosecond;
    costs.bytes(s).output = 5000;
  }
  return costs;
}

TEST(CalibrateOverProcesses, all_have_the_same_measurements_of_all_ranks) {
  for (const std::int32_t ranks_each : {1, 2}) {
    SCOPED_TRACE(ranks_each);
    const std::int32_t count = 2 * ranks_each;
    std::vector<Calibration> all(2);
    const auto thrown = ThreadProcesses(2).run([&](World& world) {
      const Program program = scheduled("gpipe", count, 2);
      NullBackend backend(slow_costs(count));
      Ranks ranks(backend, program, {}, &world);
      CalibrateOptions options;
      options.rounds = 3;
      options.waits = 10;
      all[static_cast<std::size_t>(world.process())] = calibrate(program, ranks, options);
    });
    EXPECT_THAT(thrown, testing::Each(""));
    const Calibration& mine = all.front();
    EXPECT_EQ(mine.ops, all.back().ops);
    EXPECT_EQ(mine.messages.one_way, all.back().messages.one_way);
    EXPECT_EQ(mine.messages.both_ways, all.back().messages.both_ways);
    EXPECT_EQ(mine.sync, all.back().sync);
    EXPECT_EQ(mine.handover, all.back().handover);
    EXPECT_FALSE(mine.stopped);

    ASSERT_EQ(mine.ops.size(), 3u * static_cast<std::size_t>(count));
    std::int64_t busy = 0;
    for (std::size_t i = 0; i < mine.ops.size(); ++i) {
      const MeasuredOp& op = mine.ops[i];
      EXPECT_EQ(op.stage, static_cast<Stage>(i / 3));
      EXPECT_EQ(op.kind, (std::array{Kind::F, Kind::B, Kind::U}[i % 3]));
      if (op.kind == Kind::U) continue;
      const Nanos least = op.kind == Kind::F ? 300 * kMicrosecond : 600 * kMicrosecond;
      EXPECT_EQ(op.alone.count, 3 * 2);
      EXPECT_GE(op.alone.first, least);
      EXPECT_GE(op.busy.first, op.busy.count > 0 ? least : 0);
      EXPECT_GE(op.busy_factor(), op.busy.count > 0 ? static_cast<double>(least) / static_cast<double>(op.alone.expected()) : 1);
      busy += op.busy.count;
    }
    EXPECT_GT(busy, 0);
    for (const auto* transfers : {&mine.messages.one_way, &mine.messages.both_ways}) {
      ASSERT_EQ(transfers->size(), 2u);
      EXPECT_EQ(transfers->front().bytes, 1 << 10);
      EXPECT_EQ(transfers->back().bytes, 5000);
      for (const MeasuredTransfer& transfer : *transfers) {
        EXPECT_GE(transfer.time.count, 5);
        EXPECT_GT(transfer.time.median, 0);
      }
    }
    EXPECT_EQ(mine.messages.both_ways.front().time.count % 2, 0) << "each way";
    EXPECT_EQ(mine.sync.count, 10);
    EXPECT_GT(mine.sync.median, 0);
    EXPECT_EQ(mine.handover.count, ranks_each > 1 ? 10 : 0);
    EXPECT_EQ(mine.handover.median > 0, ranks_each > 1);
  }
}

TEST(CalibrateOverProcesses, hosts_with_different_numbers_of_cores_do_the_same) {
  ThreadProcesses processes(2);
  std::atomic<bool> ended{false};
  std::thread rescue([&] {
    for (int tenths = 0; tenths < 200 && !ended; ++tenths) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (!ended) processes.lose("who waits for whom?");
  });
  const auto thrown = processes.run([](World& world) {
    const std::vector<int> cores = available_core_list();
    if (world.first()) pin_thread(std::span(cores).first(1));  // the threads of ranks have what this one has
    const Program program = scheduled("gpipe", 4, 2);
    NullBackend backend(slow_costs(4));
    Ranks ranks(backend, program, {}, &world);
    CalibrateOptions options;
    options.rounds = 3;
    options.waits = 10;
    calibrate(program, ranks, options);
  });
  ended = true;
  rescue.join();
  EXPECT_THAT(thrown, testing::Each(""));
}

// Between processes, so that ops are slowed down by what moves messages as they are in a run.
TEST(CalibrateOverProcesses, ops_are_timed_beside_messages) {
  class Codec : public PayloadCodec {
   public:
    Parcel encode(const Op& op, const Payload& payload) const override {
      const std::lock_guard lock(mutex);
      sent.insert(cell(op));
      return PayloadCodec::encode(op, payload);
    }
    mutable std::mutex mutex;
    mutable std::set<std::string> sent;
  };
  class Backend : public NullBackend {
   public:
    Backend(StageCosts costs, const Codec& codec) : NullBackend(std::move(costs)), codec_(codec) {}
    const PayloadCodec& codec() const override { return codec_; }

   private:
    const Codec& codec_;
  };
  std::array<Codec, 2> codecs;
  const auto thrown = ThreadProcesses(2).run([&](World& world) {
    const Program program = scheduled("gpipe", 4, 2);
    const Codec& codec = codecs[static_cast<std::size_t>(world.process())];
    Backend backend(slow_costs(4), codec);
    Ranks ranks(backend, program, {}, &world);
    CalibrateOptions options;
    options.rounds = 3;
    options.waits = 0;
    options.cores = {{0}, {1}, {2}, {3}};  // for who is at work together; nobody is pinned here
    calibrate(program, ranks, options);
  });
  EXPECT_THAT(thrown, testing::Each(""));
  EXPECT_TRUE(codecs[0].sent.contains("1SEND_F0")) << "stage 1 is of process 0, stage 2 of process 1";
  EXPECT_TRUE(codecs[1].sent.contains("2SEND_B0"));
  EXPECT_FALSE(codecs[0].sent.contains("1SEND_B0")) << "stage 0 is of the same process";
}

TEST(CalibrateOverProcesses, a_stop_in_one_of_them_stops_all) {
  const auto thrown = ThreadProcesses(2).run([](World& world) {
    const Program program = scheduled("ppll", 2, 1);
    NullBackend backend{StageCosts(2)};
    Ranks ranks(backend, program, {}, &world);
    std::atomic<bool> stop{false};
    CalibrateOptions options;
    options.rounds = 100;
    options.stop = &stop;
    std::int32_t last = -1;
    options.progress = [&](std::int32_t round) {
      last = round;
      if (round == 2 && world.process() == 1) stop = true;
    };
    EXPECT_TRUE(calibrate(program, ranks, options).stopped);
    EXPECT_EQ(last, 2);
  });
  EXPECT_THAT(thrown, testing::Each(""));
}

TEST(CalibrateOverProcesses, a_process_that_is_lost_ends_it_in_all_wherever_they_are) {
  for (const int after : {5, 60, 150}) {
    ThreadProcesses processes(2);
    std::atomic<bool> begun{false};
    std::thread end([&] {
      while (!begun) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::milliseconds(after));
      processes.lose("process 1 was killed");
    });
    const auto thrown = processes.run([&](World& world) {
      const Program program = scheduled("gpipe", 4, 2);
      NullBackend backend(slow_costs(4));
      Ranks ranks(backend, program, {}, &world);
      CalibrateOptions options;
      options.rounds = 1;
      options.waits = 1'000'000;
      begun = true;
      EXPECT_THROW(calibrate(program, ranks, options), LostError);
    });
    end.join();
    EXPECT_THAT(thrown, testing::Each(""));
  }
}

}  // namespace
}  // namespace bubblescope
