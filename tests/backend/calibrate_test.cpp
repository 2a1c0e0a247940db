// Calibration: what is measured, how often, on what inputs, and in whose company.
#include "backend/calibrate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "backend/clock.hpp"
#include "backend/cores.hpp"
#include "backend/host_streams.hpp"
#include "backend/null.hpp"
#include "sim/core/error.hpp"
#include "sim/lower/copy_reduction.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {
namespace {

using testing::ElementsAre;

Program scheduled(const std::string& name, std::int32_t ranks, std::int32_t microbatches) {
  ScheduleShape shape;
  shape.ranks = ranks;
  shape.microbatches = microbatches;
  return generate(find_schedule(name), shape);
}

/// What all devices of a test saw.
struct Log {
  std::mutex mutex;
  std::vector<std::vector<std::string>> calls;  // by rank
  std::set<Rank> at_work;
  std::set<std::set<Rank>> companies;  // who was ever inside an op together
  std::set<std::int32_t> iterations;
  bool fails = false;
  bool out_of_memory = false;  ///< for examples
  Nanos first_longer = 0;      ///< that the first forward of a walk takes longer than the others
};

class LoggingDevice : public Device {
 public:
  LoggingDevice(Log& log, Rank rank) : log_(log), rank_(rank) {}
  void execute(const Op& op) override {
    note(cell(op));
    {
      const std::lock_guard lock(log_.mutex);
      log_.iterations.insert(op.iteration);
      log_.at_work.insert(rank_);
      log_.companies.insert(log_.at_work);
    }
    const Nanos longer = op.kind == Kind::F && op.microbatch == 0 ? log_.first_longer : 0;
    std::this_thread::sleep_for(std::chrono::nanoseconds(100 * kMicrosecond * (rank_ + 1) + longer));
    const std::lock_guard lock(log_.mutex);
    log_.at_work.erase(rank_);
    if (log_.fails && rank_ == 1 && ++executed_ > 30) throw RunError("broken");
  }
  Payload output(const Op& send) override {
    note(cell(send));
    return {};
  }
  void input(const Op& recv, Payload payload) override {
    EXPECT_EQ(payload.bytes, 77);
    note("got " + cell(recv));
  }
  Payload contribution(const Op&) override { return {nullptr, rank_ + 1}; }
  void reduced(const Op& op, std::span<const Payload> contributions) override {
    EXPECT_EQ(contributions.size(), op.kind == Kind::ALLREDUCE ? 2U : 1U);
    for (const Payload& payload : contributions) EXPECT_EQ(payload.bytes, rank_ + 1);
    note(cell(op));
  }
  Payload example(const Op&) override {
    if (log_.out_of_memory) throw std::bad_alloc();
    return {nullptr, 77};
  }

 private:
  void note(std::string what) {
    const std::lock_guard lock(log_.mutex);
    log_.calls[static_cast<std::size_t>(rank_)].push_back(std::move(what));
  }
  Log& log_;
  Rank rank_;
  int executed_ = 0;
};

class LoggingBackend : public Backend {
 public:
  LoggingBackend(Log& log, std::int32_t ranks) : log_(log) { log_.calls.resize(static_cast<std::size_t>(ranks)); }
  std::string name() const override { return "logging"; }
  std::unique_ptr<Device> device(Rank rank, const Program&) override { return std::make_unique<LoggingDevice>(log_, rank); }

 private:
  Log& log_;
};

TEST(Calibrate, walks_each_rank_through_its_own_row_on_examples) {
  // The same calls with sends and receives in the program as without.
  for (const bool lowered : {false, true}) {
    const Program program = scheduled("gpipe", 3, 2);
    Log log;
    LoggingBackend backend(log, 3);
    Ranks ranks(backend, program, {});
    CalibrateOptions options;
    options.rounds = 0;
    options.waits = 3;
    calibrate(lowered ? add_send_recv(program) : program, ranks, options);
    // gpipe runs its backwards in the order of the forwards here; what matters is what surrounds them.
    EXPECT_THAT(log.calls[0], ElementsAre("0F0", "0SEND_F0", "0F1", "0SEND_F1", "got 0RECV_B0", "0B0", "got 0RECV_B1", "0B1", "0U"));
    EXPECT_THAT(log.calls[1], ElementsAre("got 1RECV_F0", "1F0", "1SEND_F0", "got 1RECV_F1", "1F1", "1SEND_F1", "got 1RECV_B0", "1B0", "1SEND_B0", "got 1RECV_B1", "1B1", "1SEND_B1", "1U"));
    EXPECT_THAT(log.calls[2], ElementsAre("got 2RECV_F0", "2F0", "got 2RECV_F1", "2F1", "2B0", "2SEND_B0", "2B1", "2SEND_B1", "2U"));
  }
}

TEST(Calibrate, reduces_over_copies_of_a_stage_as_if_the_others_were_there) {
  const Program program = add_copy_reduction(scheduled("chimera", 2, 2));
  Log log;
  LoggingBackend backend(log, 2);
  Ranks ranks(backend, program, {});
  CalibrateOptions options;
  options.rounds = 1;
  options.waits = 3;
  const Calibration calibration = calibrate(program, ranks, options);
  std::set<Stage> reduced;
  for (const MeasuredOp& op : calibration.ops) {
    if (op.kind == Kind::ALLREDUCE) reduced.insert(op.stage);
  }
  EXPECT_EQ(reduced, (std::set<Stage>{0, 1, 2, 3}));
}

TEST(Calibrate, measures_every_stage_and_kind_that_occurs_alone_and_busy) {
  const Program program = scheduled("ppll", 2, 3);
  Log log;
  LoggingBackend backend(log, 2);
  Ranks ranks(backend, program, {});
  CalibrateOptions options;
  options.rounds = 4;
  options.walks = 2;
  options.waits = 20;
  const Calibration calibration = calibrate(program, ranks, options);
  std::vector<std::string> measured;
  std::int64_t busy = 0;
  for (const MeasuredOp& op : calibration.ops) {
    measured.push_back(std::to_string(op.stage) + std::string(mnemonic(op.kind)));
    EXPECT_EQ(op.alone.count, 3 * 2 * 4);  // microbatches, walks, rounds: the first walks are not counted
    // No sleep ends early, so not even the shortest ops are shorter.
    EXPECT_GE(op.alone.first, 100 * kMicrosecond * (op.stage + 1));
    if (op.busy.count > 0) {
      EXPECT_GE(op.busy.first, 100 * kMicrosecond * (op.stage + 1));
    }
    busy += op.busy.count;
  }
  // Of the two, the one that began last was in company all the time: 4 kinds, 3 microbatches, 2 walks.
  if (available_cores() >= 2) {
    EXPECT_GE(busy, 4 * (4 * 3 * 2));
  }
  EXPECT_THAT(measured, ElementsAre("0F", "0A", "0LB", "0U", "1F", "1A", "1LB", "1U"));
  EXPECT_EQ(calibration.handover.count, 20);
  EXPECT_GT(calibration.handover.median, 0);
  EXPECT_EQ(calibration.sync.count, 20);
  EXPECT_GT(calibration.sync.median, 0);
}

// One forward of four takes 20 ms longer: the median does not know, a walk's time does.
TEST(Calibrate, what_the_first_op_of_a_walk_takes_longer_counts_in_the_mean) {
  const Program program = scheduled("gpipe", 2, 4);
  Log log;
  log.first_longer = 20 * kMillisecond;
  LoggingBackend backend(log, 2);
  Ranks ranks(backend, program, {});
  CalibrateOptions options;
  options.rounds = 4;
  options.waits = 3;
  const Calibration calibration = calibrate(program, ranks, options);
  ASSERT_EQ(calibration.ops.size(), 2u * 3);
  for (const MeasuredOp& op : calibration.ops) {
    if (op.kind != Kind::F) continue;
    EXPECT_GE(op.alone.mean, 5 * kMillisecond + 100 * kMicrosecond * (op.stage + 1));
    EXPECT_EQ(op.alone.expected(), op.alone.mean);
    if (available_cores() < 2) continue;
    EXPECT_EQ(op.busy.count % 4, 0) << "walks as a whole";
    EXPECT_GE(op.busy.count, 4 * 4);
    EXPECT_GE(op.busy.mean, 5 * kMillisecond + 100 * kMicrosecond * (op.stage + 1));
  }
}

// Ops of 300 us and 600 us on lanes of their own: a rank issues ahead of them.
TEST(Calibrate, on_streams_ops_are_timed_by_events) {
  const Program program = add_send_recv(scheduled("gpipe", 2, 3));
  StageCosts costs(2);
  costs.at(0, Kind::F).duration = costs.at(1, Kind::F).duration = 300 * kMicrosecond;
  costs.at(0, Kind::B).duration = costs.at(1, Kind::B).duration = 600 * kMicrosecond;
  NullBackend null(costs);
  HostStreamBackend backend(null);
  Ranks ranks(backend, program, {});
  CalibrateOptions options;
  options.rounds = 3;
  options.waits = 20;
  const Calibration calibration = calibrate(program, ranks, options);
  for (const MeasuredOp& op : calibration.ops) {
    if (op.kind == Kind::U) continue;
    const Nanos least = op.kind == Kind::F ? 300 * kMicrosecond : 600 * kMicrosecond;
    EXPECT_EQ(op.alone.count, 3 * 3) << mnemonic(op.kind);
    EXPECT_GE(op.alone.median, least);
    EXPECT_GE(op.busy.count, 3);
    EXPECT_GE(op.busy.median, least);
  }
  EXPECT_EQ(calibration.ops.size(), 2u * 3);
  EXPECT_GE(calibration.handover.count, 20 / 6);  // of six sizes
  EXPECT_GT(calibration.handover.median, 0);
  EXPECT_EQ(calibration.sync.median, calibration.handover.median);
}

// 100 us and 10 GB/s: 64 MiB take 6.8 ms.
TEST(Calibrate, on_streams_messages_are_timed_by_size) {
  const Program program = add_send_recv(scheduled("gpipe", 2, 3));
  StageCosts costs(2);
  for (Stage s = 0; s < 2; ++s) costs.at(s, Kind::F).duration = costs.at(s, Kind::B).duration = 8 * kMillisecond;
  NullBackend null(costs);
  const auto carrying = [](std::int64_t bytes) { return 100 * kMicrosecond + bytes / 10; };
  HostStreamBackend backend(null, {.carrying = carrying, .host_counts = true});
  Ranks ranks(backend, program, {});
  CalibrateOptions options;
  options.rounds = 1;
  options.waits = 10;
  const Calibration calibration = calibrate(program, ranks, options);
  std::set<std::int64_t> sizes;
  for (const MeasuredTransfer& transfer : calibration.messages.one_way) {
    sizes.insert(transfer.bytes);
    EXPECT_GE(transfer.time.first, carrying(transfer.bytes));
    EXPECT_GE(transfer.time.count, 1);
  }
  for (const std::int64_t bytes : {1 << 10, 1 << 16, 1 << 20, 1 << 24, 1 << 26}) EXPECT_TRUE(sizes.contains(bytes)) << bytes;
  EXPECT_GE(calibration.sync.median, 100 * kMicrosecond);
  for (const MeasuredOp& op : calibration.ops) {
    EXPECT_GT(op.host.count, 0) << mnemonic(op.kind);
    if (op.kind != Kind::F) continue;
    EXPECT_LT(op.host.median, op.alone.median) << "issuing takes less than the work";
  }
}

// Every op's time alternates between t and 3t: the quartiles stay apart, and the error of n walks' mean falls with the
// root of n only.
TEST(Calibrate, goes_on_until_means_are_known_well_or_its_time_is_over) {
  const Program program = scheduled("gpipe", 1, 2);
  StageCosts costs(1);
  costs.at(0, Kind::F).duration = costs.at(0, Kind::B).duration = 100 * kMicrosecond;
  NullBackend null(costs);
  HostStreamBackend backend(null, {.delay = [](std::int32_t, std::int64_t number) { return number / 2 % 2 * 200 * kMicrosecond; }});
  const auto rounds = [&](double noise, Nanos longest) {
    Ranks ranks(backend, program, {});
    CalibrateOptions options;
    options.rounds = 2;
    options.noise = noise;
    options.longest = longest;
    std::int32_t count = 0;
    std::atomic<bool> stop{false};
    options.progress = [&](std::int32_t) { stop = ++count == 10; };
    options.stop = &stop;
    calibrate(program, ranks, options);
    return count;
  };
  EXPECT_EQ(rounds(0, kSecond), 2) << "no more than asked for";
  EXPECT_EQ(rounds(1e9, 60 * kSecond), 8) << "eight samples or more, or there are no quartiles: of U one a round";
  EXPECT_EQ(rounds(1e-9, 0), 2) << "no time for more";
  EXPECT_EQ(rounds(1e-9, 60 * kSecond), 10) << "never known well enough, so it goes on until it is stopped";
}

TEST(Calibrate, on_streams_a_failing_device_ends_the_calibration_and_names_the_op) {
  const Program program = scheduled("gpipe", 2, 2);
  Log log;
  log.fails = true;
  LoggingBackend devices(log, 2);
  HostStreamBackend backend(devices);
  Ranks ranks(backend, program, {});
  CalibrateOptions options;
  options.rounds = 100;
  try {
    calibrate(program, ranks, options);
    FAIL();
  } catch (const RunError& error) {
    EXPECT_NE(std::string(error.what()).find("calibrating 1"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("broken"), std::string::npos);
  }
}

TEST(Calibrate, keeps_as_many_ranks_busy_as_have_cores) {
  const Program program = scheduled("ppll", 3, 1);
  Log log;
  LoggingBackend backend(log, 3);
  Ranks ranks(backend, program, {});
  CalibrateOptions options;
  options.rounds = 2;
  options.waits = 1;
  options.cores = {{0}, {0}, {0}};  // one core: never two at once
  const Calibration calibration = calibrate(program, ranks, options);
  EXPECT_EQ(log.companies, (std::set<std::set<Rank>>{{0}, {1}, {2}}));
  EXPECT_EQ(log.iterations, (std::set<std::int32_t>{0, 1, 2}));  // every walk is another one
  for (const MeasuredOp& op : calibration.ops) {
    EXPECT_EQ(op.busy.count, 0);
    EXPECT_EQ(op.busy_factor(), 1.0);
  }
}

TEST(Calibrate, a_failing_device_ends_the_calibration) {
  const Program program = scheduled("ppll", 2, 3);
  Log log;
  log.fails = true;
  LoggingBackend backend(log, 2);
  Ranks ranks(backend, program, {});
  CalibrateOptions options;
  options.rounds = 50;
  EXPECT_THROW(calibrate(program, ranks, options), RunError);
}

TEST(Calibrate, whatever_goes_wrong_names_the_op) {
  const Program program = scheduled("ppll", 2, 3);
  Log log;
  log.out_of_memory = true;
  LoggingBackend backend(log, 2);
  Ranks ranks(backend, program, {});
  CalibrateOptions options;
  options.rounds = 1;
  try {
    calibrate(program, ranks, options);
    FAIL() << "nothing was thrown";
  } catch (const RunError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("calibrating 1F0"));
  }
}

TEST(Calibrate, a_stop_between_rounds_ends_it) {
  const Program program = scheduled("ppll", 2, 1);
  NullBackend backend{StageCosts(2)};
  Ranks ranks(backend, program, {});
  std::atomic<bool> stop{false};
  CalibrateOptions options;
  options.rounds = 100;
  options.waits = 1;
  options.stop = &stop;
  std::int32_t last = -1;
  options.progress = [&](std::int32_t round) {
    last = round;
    if (round == 2) stop = true;
  };
  const Calibration calibration = calibrate(program, ranks, options);
  EXPECT_TRUE(calibration.stopped);
  EXPECT_EQ(last, 2);
  EXPECT_EQ(calibration.ops.front().alone.count, 3);
}

TEST(BusyGroups, hold_ranks_with_cores_of_their_own_and_cover_all) {
  using Groups = std::vector<std::vector<Rank>>;
  EXPECT_EQ(busy_groups(2, {{0}, {1}}, 2), (Groups{{0, 1}}));
  EXPECT_EQ(busy_groups(4, {{0}, {1}, {0}, {1}}, 2), (Groups{{0, 1}, {2, 3}}));
  EXPECT_EQ(busy_groups(3, {{0}, {1}, {0}}, 2), (Groups{{0, 1}, {1, 2}}));
  EXPECT_EQ(busy_groups(3, {{0, 1}, {2, 3}, {1, 2}}, 4), (Groups{{0, 1}, {2}}));
  // Not pinned: as many as there are cores.
  EXPECT_EQ(busy_groups(4, {}, 2), (Groups{{0, 1}, {2, 3}}));
  EXPECT_EQ(busy_groups(3, {}, 2), (Groups{{0, 1}, {0, 2}}));
  EXPECT_EQ(busy_groups(3, {}, 8), (Groups{{0, 1, 2}}));
}

}  // namespace
}  // namespace bubblescope
