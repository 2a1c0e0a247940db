// Every schedule on lanes and events, under every channel it may use: what has to wait waits, in device time.
#include "backend/stream_execution.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <set>
#include <string>

#include "backend/clock.hpp"
#include "sim/core/channel_mode.hpp"
#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"
#include "tests/backend/stream_runs.hpp"

namespace bubblescope {
namespace {

ExecuteOptions iterations(std::int32_t count) {
  ExecuteOptions options;
  options.iterations = count;
  return options;
}

void expect_constraints_kept(const Program& program, const std::string& name) {
  SCOPED_TRACE(name);
  const Execution execution = run_on_streams(program, late_at_random(std::hash<std::string>{}(name)), iterations(2));
  EXPECT_EQ(broken_constraints(repeat_iterations(program, 2), execution.timeline), 0);
  EXPECT_EQ(execution.iterations_done, 2);
}

TEST(StreamExecution, keeps_every_constraint_of_every_schedule) {
  for (const Schedule& schedule : schedules()) {
    for (const std::int32_t ranks : {1, 2, 4}) expect_constraints_kept(on_ranks(schedule, ranks), schedule.name + " on " + std::to_string(ranks));
  }
}

TEST(StreamExecution, keeps_queues_within_their_capacity) {
  for (const char* queue : {"0", "1", "2"}) {
    for (const char* forward : {"early", "late"}) {
      expect_constraints_kept(on_ranks(find_schedule("ppll"), 3, {{"queue", queue}, {"forward", forward}}), std::string("queue ") + queue + " " + forward);
    }
  }
}

TEST(StreamExecution, keeps_the_constraints_of_every_channel_that_does_not_deadlock) {
  int ran = 0;
  for (const char* schedule : {"1f1b", "zbv", "chimera"}) {
    for (const char* mode : {"async", "rank", "data", "edge", "rank,eager=64KiB", "edge,capacity=1,send=commit", "data,capacity=0", "async,capacity=2,receive=use,send=hold"}) {
      Program order = generate_fitting(find_schedule(schedule), {.ranks = 4, .microbatches = 5});
      order.channels = {channel_mode(mode)};
      const Program program = add_send_recv(add_copy_reduction(order));
      if (!validate(program).empty()) continue;
      expect_constraints_kept(program, std::string(schedule) + " " + mode);
      ++ran;
    }
  }
  EXPECT_GE(ran, 15);
}

TEST(StreamExecution, a_wait_left_out_shows) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "the race that it makes on purpose is one for ThreadSanitizer, too";
#endif
  for (const char* name : {"1f1b", "ppll", "dualpipe"}) {
    const Program program = on_ranks(find_schedule(name), 4);
    int broken = 0;
    for (std::uint64_t seed = 0; seed < 5 && broken == 0; ++seed) {
      HostStreamOptions streams = late_at_random(seed);
      streams.forget = [](std::int32_t, std::int32_t) { return true; };
      broken = broken_constraints(program, run_on_streams(program, streams, iterations(1)).timeline);
    }
    EXPECT_GT(broken, 0) << name;
  }
}

TEST(StreamExecution, leaves_the_warm_up_out_and_counts_on) {
  const Program program = on_ranks(find_schedule("gpipe"), 2);
  ExecuteOptions options = iterations(2);
  options.warmup = 1;
  options.first_iteration = 5;
  const Execution execution = run_on_streams(program, {}, options);
  EXPECT_EQ(execution.next_iteration, 8);
  EXPECT_EQ(execution.timeline.iterations, 2);
  std::set<std::int32_t> seen;
  for (const Span& span : execution.timeline.spans) seen.insert(span.op.iteration);
  EXPECT_EQ(seen, (std::set<std::int32_t>{0, 1}));
}

TEST(StreamExecution, a_stop_ends_all_ranks_after_the_same_iteration) {
  for (const char* name : {"1f1b", "ppll", "pipedream"}) {
    const Program program = on_ranks(find_schedule(name), 4);
    std::atomic<bool> stop{false};
    ExecuteOptions options = iterations(200);
    options.stop = &stop;
    options.run_ahead = 4;
    options.progress = [&](std::int32_t iteration) { stop = stop || iteration >= 3; };
    const Execution execution = run_on_streams(program, late_at_random(1), options);
    EXPECT_TRUE(execution.stopped) << name;
    EXPECT_LT(execution.iterations_done, 200) << name;
    EXPECT_EQ(broken_constraints(repeat_iterations(program, execution.iterations_done), execution.timeline), 0) << name;
  }
}

/// Fails at one op.
class FailingDevice : public Device {
 public:
  void execute(const Op& op) override {
    if (op.kind == Kind::B && op.stage == 1 && op.iteration == 1) throw RunError("the sky has fallen");
  }
  Payload output(const Op&) override { return {}; }
  void input(const Op&, Payload) override {}
  Payload example(const Op&) override { return {}; }
};
class FailingBackend : public Backend {
 public:
  std::string name() const override { return "failing"; }
  std::unique_ptr<Device> device(Rank, const Program&) override { return std::make_unique<FailingDevice>(); }
};

TEST(StreamExecution, a_failure_ends_all_ranks_and_names_rank_op_and_iteration) {
  const Program program = on_ranks(find_schedule("1f1b"), 3);
  FailingBackend devices;
  HostStreamBackend backend(devices, late_at_random(3));
  Ranks ranks(backend, program, {});
  try {
    execute(program, ranks, iterations(20));
    FAIL();
  } catch (const RunError& error) {
    EXPECT_EQ(std::string(error.what()), "rank 1, 1B0, iteration 1: the sky has fallen");
  }
}

/// Streams whose messages take a while and arrive as something else.
class CarryingSource : public Backend, public StreamSource {
 public:
  std::string name() const override { return "carrying"; }
  std::unique_ptr<Device> device(Rank, const Program&) override { return std::make_unique<Checking>(); }
  StreamSource* stream_source() override { return this; }
  std::unique_ptr<Streams> streams(std::span<const LaneSpec> lanes, std::size_t events) override { return std::make_unique<Carrying>(host_streams(lanes, events, late_at_random(11))); }

 private:
  /// Takes nothing but what was carried.
  class Checking : public Device {
   public:
    void execute(const Op&) override {}
    Payload output(const Op&) override { return {std::make_shared<int>(1), 4}; }
    void input(const Op&, Payload payload) override {
      if (!payload.data || *std::static_pointer_cast<int>(payload.data) != 2) throw RunError("this was not carried");
    }
    Payload example(const Op&) override { return {}; }
  };
  class Carrying : public Streams {
   public:
    explicit Carrying(std::unique_ptr<Streams> streams) : streams_(std::move(streams)) {}
    void submit(std::int32_t lane, std::function<void()> work) override { streams_->submit(lane, std::move(work)); }
    void record(std::int32_t lane, std::int32_t event) override { streams_->record(lane, event); }
    void wait(std::int32_t lane, std::int32_t event) override { streams_->wait(lane, event); }
    void await(std::int32_t event) override { streams_->await(event); }
    Nanos time(std::int32_t event) const override { return streams_->time(event); }
    Payload carry(Payload payload, Rank, Rank) override {
      wait_until(steady_now() + 100 * kMicrosecond);
      EXPECT_EQ(*std::static_pointer_cast<int>(payload.data), 1);
      return {std::make_shared<int>(2), payload.bytes};
    }

   private:
    std::unique_ptr<Streams> streams_;
  };
};

TEST(StreamExecution, an_op_uses_what_was_carried_whatever_the_channel) {
  for (const char* name : {"1f1b", "deepspeed", "zbv", "ppll"}) {
    for (const char* mode : {"async", "rank", "data", "edge", "edge,eager=64KiB"}) {
      if (std::string(name) != "1f1b" && std::string(mode) != "async") continue;
      const Schedule& schedule = find_schedule(name);
      ScheduleShape shape{.ranks = 3, .microbatches = 4};
      if (schedule.local) shape.options = {{"queue", "0"}};
      Program order = generate_fitting(schedule, shape);
      if (std::string(mode) != "async") order.channels = {channel_mode(mode)};
      const Program program = add_send_recv(order);
      CarryingSource source;
      Ranks ranks(source, program, {});
      EXPECT_NO_THROW(execute(program, ranks, iterations(2))) << name << " " << mode;
    }
  }
}

// The last thing that a rank computes may be what it sends.
TEST(StreamExecution, rows_may_end_with_a_send) {
  Program order = generate(find_schedule("1f1b"), {.ranks = 3, .microbatches = 3});
  order.channels = {channel_mode("async")};
  for (auto& row : order.rows) std::erase_if(row, [](const Op& op) { return op.kind == Kind::U; });
  const Program program = add_send_recv(order);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    EXPECT_EQ(broken_constraints(program, run_on_streams(program, late_at_random(seed), iterations(1)).timeline), 0);
  }
}

TEST(StreamExecution, entries_that_wait_are_memory_of_their_receiver) {
  // Rank 0 has sent all four, a while ago, before rank 1 is through with the first.
  class Holding : public NullBackend {
   public:
    using NullBackend::NullBackend;
    std::unique_ptr<Device> device(Rank rank, const Program&) override { return std::make_unique<Held>(rank, sent); }
    struct Held : FailingDevice {
      Held(Rank of, std::atomic<int>& messages) : rank(of), sent(messages) {}
      void execute(const Op& op) override {
        if (rank == 0 || op.kind != Kind::F) return;
        for (int seen = sent; seen < 4; seen = sent) sent.wait(seen);
        wait_until(steady_now() + 3 * kMillisecond);
      }
      Payload output(const Op& op) override {
        if (op.kind == Kind::SEND_F) {
          ++sent;
          sent.notify_all();
        }
        return {nullptr, 1000};
      }
      MemoryUse memory() const override { return {500, 500}; }
      Rank rank;
      std::atomic<int>& sent;
    };
    std::atomic<int> sent{0};
  } devices{StageCosts(2)};
  HostStreamBackend backend(devices);
  Program order = generate(find_schedule("gpipe"), {.ranks = 2, .microbatches = 4});
  order.channels = {channel_mode("async")};
  const Program program = add_send_recv(order);
  Ranks ranks(backend, program, {});
  const Timeline timeline = execute(program, ranks, iterations(1)).timeline;
  ASSERT_EQ(timeline.memory.size(), 2u);
  std::int64_t most = 0;
  for (const MemorySample& sample : timeline.memory[1]) most = std::max(most, sample.bytes);
  // The first entry may still be there when the last comes, if rank 1 is slow to begin.
  EXPECT_TRUE(most == 500 + 3 * 1000 || most == 500 + 4 * 1000) << most;
  EXPECT_EQ(timeline.memory[1].back().bytes, 500);
}

TEST(StreamExecution, links_are_not_imitated) {
  ExecuteOptions options = iterations(1);
  options.network = uniform_cluster(2, {.latency = 1000});
  EXPECT_THROW(run_on_streams(on_ranks(find_schedule("gpipe"), 2), {}, options), InputError);
}

}  // namespace
}  // namespace bubblescope
