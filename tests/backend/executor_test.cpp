// Execution: what happens when ranks stop, fail, meet, run far ahead or are asked for more than they can.
#include "backend/executor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "backend/null.hpp"
#include "sim/core/error.hpp"
#include "sim/lower/copy_reduction.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {
namespace {

using testing::HasSubstr;

Op make(Kind kind, Stage stage, Microbatch microbatch) {
  Op op;
  op.kind = kind;
  op.stage = static_cast<std::int16_t>(stage);
  op.microbatch = microbatch;
  return op;
}

Program scheduled(const std::string& name, std::int32_t ranks, std::int32_t microbatches, std::map<std::string, std::string> options = {}) {
  ScheduleShape shape;
  shape.ranks = ranks;
  shape.microbatches = microbatches;
  shape.options = std::move(options);
  return add_send_recv(generate(find_schedule(name), shape));
}

/// A device whose calls a test sees and may answer.
struct Script {
  std::function<void(Rank, const Op&)> execute;
  std::function<double(Rank, const Op&)> contribution;
  std::function<void(Rank, const Op&, const std::vector<double>&)> reduced;  ///< with what all contributed
  std::function<void(Rank, const Op&, std::int64_t)> received;  ///< with the number that was sent
  MemoryUse memory;
};

class ScriptedDevice : public Device {
 public:
  ScriptedDevice(Rank rank, const Script& script) : rank_(rank), script_(script) {}
  void execute(const Op& op) override {
    if (script_.execute) script_.execute(rank_, op);
  }
  /// Sends a number that says which entry this is.
  Payload output(const Op& send) override { return {std::make_shared<std::int64_t>(send.iteration * 1000 + send.microbatch), 8}; }
  void input(const Op& recv, Payload payload) override {
    if (script_.received) script_.received(rank_, recv, *std::static_pointer_cast<std::int64_t>(payload.data));
  }
  Payload contribution(const Op& op) override { return {std::make_shared<double>(script_.contribution ? script_.contribution(rank_, op) : 0), 8}; }
  void reduced(const Op& op, std::span<const Payload> contributions) override {
    std::vector<double> values;
    for (const Payload& payload : contributions) values.push_back(*std::static_pointer_cast<double>(payload.data));
    if (script_.reduced) script_.reduced(rank_, op, values);
  }
  Payload example(const Op&) override { return {std::make_shared<std::int64_t>(0), 8}; }
  MemoryUse memory() const override { return script_.memory; }

 private:
  Rank rank_;
  const Script& script_;
};

class ScriptedBackend : public Backend {
 public:
  explicit ScriptedBackend(Script script) : script_(std::move(script)) {}
  std::string name() const override { return "scripted"; }
  std::unique_ptr<Device> device(Rank rank, const Program&) override { return std::make_unique<ScriptedDevice>(rank, script_); }

 private:
  Script script_;
};

std::string failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const RunError& error) {
    return error.what();
  } catch (const InputError& error) {
    return std::string("input: ") + error.what();
  }
  return "no failure";
}

TEST(Executor, gives_devices_running_iterations_and_the_entries_meant_for_them) {
  const Program program = scheduled("ppll", 3, 4, {{"queue", "1"}});
  std::atomic<int> wrong{0}, received{0};
  std::set<std::int32_t> iterations;  // of rank 0
  Script script;
  script.execute = [&](Rank rank, const Op& op) {
    if (rank == 0) iterations.insert(op.iteration);
  };
  script.received = [&](Rank, const Op& recv, std::int64_t number) {
    ++received;
    if (number != recv.iteration * 1000 + recv.microbatch) ++wrong;
  };
  ScriptedBackend backend(script);
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.first_iteration = 7;
  options.warmup = 1;
  options.iterations = 3;
  const Execution execution = execute(program, ranks, options);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(received, 2 * 4 * 4);  // two receiving ranks, four microbatches, four walks
  EXPECT_EQ(iterations, (std::set<std::int32_t>{7, 8, 9, 10}));
  EXPECT_EQ(execution.iterations_done, 3);
  EXPECT_EQ(execution.next_iteration, 11);
  EXPECT_FALSE(execution.stopped);
  // Recorded are the measured iterations alone, counted from 0.
  std::set<std::int32_t> recorded;
  for (const Span& span : execution.timeline.spans) recorded.insert(span.op.iteration);
  EXPECT_EQ(recorded, (std::set<std::int32_t>{0, 1, 2}));
}

TEST(Executor, records_nothing_when_asked_not_to) {
  const Program program = scheduled("1f1b", 2, 4);
  NullBackend backend{StageCosts(2)};
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.iterations = 5;
  options.record = false;
  const Execution execution = execute(program, ranks, options);
  EXPECT_TRUE(execution.timeline.spans.empty());
  EXPECT_EQ(execution.iterations_done, 5);
}

TEST(Executor, walks_programs_of_several_iterations) {
  const Program program = repeat_iterations(scheduled("gpipe", 2, 2), 3);
  std::set<std::int32_t> seen;
  Script script;
  script.execute = [&](Rank rank, const Op& op) {
    if (rank == 1) seen.insert(op.iteration);
  };
  ScriptedBackend backend(script);
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.iterations = 2;
  const Execution execution = execute(program, ranks, options);
  EXPECT_EQ(seen, (std::set<std::int32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(execution.timeline.iterations, 6);
}

TEST(Executor, hands_all_ranks_what_each_contributed_at_a_barrier) {
  const Program program = scheduled("sequential-local", 3, 4, {{"variant", "overlapped"}});
  std::atomic<int> wrong{0}, sums{0};
  Script script;
  script.contribution = [](Rank rank, const Op& op) { return 100.0 * op.microbatch + rank + 0.5 * op.iteration; };
  script.reduced = [&](Rank, const Op& op, const std::vector<double>& all) {
    ++sums;
    const double first = 100.0 * op.microbatch + 0.5 * op.iteration;
    if (all != std::vector{first, first + 1, first + 2}) ++wrong;
  };
  ScriptedBackend backend(script);
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.iterations = 20;
  execute(program, ranks, options);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(sums, 3 * 4 * 20);
}

// Four ranks of Chimera: ranks 0 and 3 hold both ends of the chains, 1 and 2 what is between.
TEST(Executor, copies_of_a_stage_meet_apart_from_the_others) {
  ScheduleShape shape{.ranks = 4, .microbatches = 4};
  const Program program = add_send_recv(add_copy_reduction(generate(find_schedule("chimera"), shape)));
  std::atomic<int> wrong{0}, sums{0};
  Script script;
  script.contribution = [](Rank rank, const Op& op) { return 100.0 * op.iteration + rank; };
  script.reduced = [&](Rank rank, const Op& op, const std::vector<double>& all) {
    ++sums;
    const double low = 100.0 * op.iteration + std::min(rank, 3 - rank);
    if (op.kind != Kind::ALLREDUCE || all != std::vector{low, 200.0 * op.iteration + 3 - low}) ++wrong;
  };
  ScriptedBackend backend(script);
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.iterations = 20;
  const Execution execution = execute(program, ranks, options);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(sums, 4 * 2 * 20);
  for (const Span& span : execution.timeline.spans) {
    if (span.op.kind == Kind::ALLREDUCE) {
      EXPECT_EQ(span.bytes, 8);  // 2 (n-1) / n of 8
    }
  }
}

// The null backend's costs and an imitated network: 3 ms of work and a ring of 2 (1 ms + 2 ms) after the last has come.
TEST(Executor, a_reduction_takes_its_time_on_the_network_and_on_the_device) {
  const Program program = add_send_recv(add_copy_reduction(generate(find_schedule("chimera"), {.ranks = 2, .microbatches = 2})));
  StageCosts costs(4);
  for (Stage s = 0; s < 4; ++s) {
    costs.at(s, Kind::ALLREDUCE).duration = 3 * kMillisecond;
    costs.bytes(s).gradients = 4'000'000;
  }
  NullBackend backend(costs);
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.network = uniform_cluster(2, {kMillisecond, 1e9});
  const Timeline timeline = execute(program, ranks, options).timeline;
  for (const Span& span : timeline.spans) {
    if (span.op.kind != Kind::ALLREDUCE) continue;
    EXPECT_GE(span.duration(), 9 * kMillisecond);  // a sleep is never shorter than asked for
    EXPECT_EQ(span.bytes, 4'000'000);
  }
}

TEST(Executor, ends_after_the_iteration_under_way_when_stopped) {
  const Program program = scheduled("1f1b", 4, 8);
  for (int repeat = 0; repeat < 10; ++repeat) {
    std::atomic<bool> stop{false};
    std::vector<std::atomic<std::int32_t>> last(4);
    Script script;
    script.execute = [&](Rank rank, const Op& op) {
      last[static_cast<std::size_t>(rank)] = op.iteration;
      if (rank == 3 && op.iteration == 5 && op.microbatch == repeat % 8) stop = true;
    };
    ScriptedBackend backend(script);
    Ranks ranks(backend, program, {});
    ExecuteOptions options;
    options.iterations = 1'000'000;
    options.record = false;
    options.stop = &stop;
    std::int32_t reported = -1;
    options.progress = [&](std::int32_t iteration) { reported = iteration; };
    const Execution execution = execute(program, ranks, options);
    EXPECT_TRUE(execution.stopped);
    EXPECT_GE(execution.iterations_done, 6);
    EXPECT_LT(execution.iterations_done, 1'000'000);
    EXPECT_EQ(execution.next_iteration, execution.iterations_done);
    EXPECT_EQ(reported, execution.iterations_done - 1);
    for (const auto& iteration : last) EXPECT_EQ(iteration, execution.iterations_done - 1);
  }
}

TEST(Executor, a_stop_lets_a_rank_that_ran_ahead_hand_over_all_it_has_begun) {
  const Program program = scheduled("ppll", 2, 1, {{"queue", "8"}});
  std::atomic<bool> stop{false};
  std::vector<std::atomic<std::int32_t>> last(2);
  Script script;
  script.execute = [&](Rank rank, const Op& op) {
    last[static_cast<std::size_t>(rank)] = op.iteration;
    if (rank == 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // rank 0 fills the queue meanwhile
    if (op.iteration == 5) stop = true;
  };
  ScriptedBackend backend(script);
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.iterations = 1'000'000;
  options.record = false;
  options.stop = &stop;
  const Execution execution = execute(program, ranks, options);
  EXPECT_TRUE(execution.stopped);
  EXPECT_EQ(last[0], execution.iterations_done - 1);
  EXPECT_EQ(last[1], execution.iterations_done - 1);
}

TEST(Executor, a_stop_that_was_set_before_ends_before_the_first_iteration) {
  const Program program = scheduled("gpipe", 2, 2);
  NullBackend backend{StageCosts(2)};
  Ranks ranks(backend, program, {});
  const std::atomic<bool> stop{true};
  ExecuteOptions options;
  options.stop = &stop;
  const Execution execution = execute(program, ranks, options);
  EXPECT_TRUE(execution.stopped);
  EXPECT_EQ(execution.iterations_done, 0);
}

TEST(Executor, a_failing_rank_wakes_the_others_from_whatever_they_wait_for) {
  // Ranks wait for data, for room in a queue, for the partner of a rendezvous, or at a barrier.
  const std::vector<Program> programs = {scheduled("1f1b", 4, 8), scheduled("ppll", 4, 8, {{"queue", "1"}}),
                                         scheduled("ppll", 4, 8, {{"queue", "0"}}),
                                         scheduled("sequential-local", 4, 8, {{"variant", "overlapped"}})};
  for (const Program& program : programs) {
    for (Rank failing = 0; failing < 4; ++failing) {
      Script script;
      script.execute = [failing](Rank rank, const Op& op) {
        if (rank == failing && op.iteration == 12 && op.microbatch == 3 && op.kind == Kind::F) throw RunError("the loss is not a number");
      };
      ScriptedBackend backend(script);
      Ranks ranks(backend, program, {});
      ExecuteOptions options;
      options.first_iteration = 10;
      options.iterations = 5;
      const std::string what = failure_of([&] { execute(program, ranks, options); });
      EXPECT_THAT(what, HasSubstr("rank " + std::to_string(failing) + ", op "));
      EXPECT_THAT(what, HasSubstr("(" + std::to_string(failing) + "F3), iteration 12: the loss is not a number"));
    }
  }
}

TEST(Executor, a_failure_while_data_is_on_a_slow_wire_ends_the_run_soon) {
  const Program program = scheduled("gpipe", 2, 2);
  Script script;
  script.execute = [](Rank rank, const Op& op) {
    if (rank != 0 || op.microbatch != 1) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // rank 1 waits for the first message by now
    throw RunError("broken");
  };
  ScriptedBackend backend(script);
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.network = uniform_cluster(2, {3600 * kSecond, 0});
  EXPECT_THAT(failure_of([&] { execute(program, ranks, options); }), HasSubstr("broken"));
}

TEST(Executor, an_error_of_the_progress_report_is_a_failure_of_the_run) {
  const Program program = scheduled("gpipe", 2, 2);
  NullBackend backend{StageCosts(2)};
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.iterations = 100;
  options.progress = [](std::int32_t iteration) {
    if (iteration == 4) throw RunError("disk full");
  };
  EXPECT_THAT(failure_of([&] { execute(program, ranks, options); }), HasSubstr("rank 0, after iteration 4: disk full"));
}

TEST(Executor, refuses_programs_that_would_wait_for_ever) {
  Program program = make_program("crossed", 2, 1, placement_loop(2, 1));
  program.rows[0] = {make(Kind::F, 0, 0), make(Kind::RECV_B, 0, 0), make(Kind::B, 0, 0), make(Kind::SEND_F, 0, 0)};
  program.rows[1] = {make(Kind::RECV_F, 1, 0), make(Kind::F, 1, 0), make(Kind::B, 1, 0), make(Kind::SEND_B, 1, 0)};
  Channel& channel = program.channels.front();
  channel.capacity = 0;
  channel.receive = Receive::at_use;
  channel.send = Send::holding;
  NullBackend backend{StageCosts(2)};
  Ranks ranks(backend, program, {});
  EXPECT_THROW(execute(program, ranks, {}), RunError);
}

TEST(Executor, refuses_programs_without_communication_and_the_wrong_number_of_ranks) {
  const Program lowered = scheduled("gpipe", 2, 2);
  NullBackend backend{StageCosts(4)};
  Ranks ranks(backend, lowered, {});
  EXPECT_THAT(failure_of([&] { execute(compute_order(lowered), ranks, {}); }), HasSubstr("add sends and receives first"));
  EXPECT_THAT(failure_of([&] { execute(scheduled("gpipe", 4, 4), ranks, {}); }), HasSubstr("the program has 4 ranks, but there are 2"));
  ExecuteOptions options;
  options.network = uniform_cluster(1);
  EXPECT_THAT(failure_of([&] { execute(lowered, ranks, options); }), HasSubstr("input: the program has 2 ranks, but the network"));
  options.network = {};
  options.cores = {{0}, {1'000'000}};
  EXPECT_THAT(failure_of([&] { execute(lowered, ranks, options); }), HasSubstr("cannot run on core 1000000"));
}

TEST(Executor, samples_memory_in_and_after_every_compute_op_where_the_device_knows_it) {
  const Program program = scheduled("gpipe", 1, 3);
  Script script;
  script.memory = {4096, 8192};
  ScriptedBackend backend(script);
  Ranks ranks(backend, program, {});
  const Execution execution = execute(program, ranks, {});
  std::size_t compute = 0;
  for (const Op& op : program.rows[0]) compute += is_compute(op.kind);
  ASSERT_EQ(execution.timeline.memory.size(), 1u);
  ASSERT_EQ(execution.timeline.memory[0].size(), 2 * compute);
  for (std::size_t i = 0; i < 2 * compute; ++i) EXPECT_EQ(execution.timeline.memory[0][i].bytes, i % 2 == 0 ? 8192 : 4096);
}

TEST(Executor, counts_entries_as_memory_of_the_rank_they_wait_for) {
  const Program program = scheduled("ppll", 2, 8, {{"queue", "3"}});
  std::atomic<int> forwards{0};
  Script script;
  script.memory = {4096, 4096};
  script.execute = [&](Rank rank, const Op& op) {
    if (op.kind != Kind::F) return;
    if (rank == 0) ++forwards;
    // While rank 1 works on microbatch 0, rank 0 fills the queue with 1, 2 and 3, and has made 4.
    while (rank == 1 && op.microbatch == 0 && forwards < 5) std::this_thread::yield();
  };
  ScriptedBackend backend(script);
  Ranks ranks(backend, program, {});
  const Execution execution = execute(program, ranks, {});
  ASSERT_EQ(execution.timeline.memory.size(), 2u);
  const auto larger = [](const MemorySample& a, const MemorySample& b) { return a.bytes < b.bytes; };
  const auto most = [&](Rank rank) { return std::max_element(execution.timeline.memory[rank].begin(), execution.timeline.memory[rank].end(), larger)->bytes; };
  EXPECT_EQ(most(0), 4096);
  EXPECT_EQ(most(1), 4096 + 3 * 8);  // an entry is 8 bytes
  EXPECT_EQ(execution.timeline.memory[1].back().bytes, 4096);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
TEST(Executor, DISABLED_a_record_too_large_for_the_machine_fails_on_all_ranks) {}  // sanitizers abort instead
#else
TEST(Executor, a_record_too_large_for_the_machine_fails_on_all_ranks) {
  const Program program = scheduled("gpipe", 2, 3);
  ScriptedBackend backend({});
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.iterations = std::numeric_limits<std::int32_t>::max();
  EXPECT_THAT(failure_of([&] { execute(program, ranks, options); }), HasSubstr("before its first op"));
}
#endif

TEST(Executor, compounds_run_part_by_part_and_are_one_span) {
  Program program = make_program("compound", 1, 2, placement_loop(1, 1));
  const Op parts[] = {make(Kind::F, 0, 1), make(Kind::B, 0, 0)};
  program.rows[0] = {make(Kind::F, 0, 0), program.make_compound(Kind::OVERLAP_F_B, parts), make(Kind::B, 0, 1)};
  std::vector<std::string> executed;
  Script script;
  script.execute = [&](Rank, const Op& op) { executed.push_back(cell(op) + "@" + std::to_string(op.iteration)); };
  ScriptedBackend backend(script);
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.iterations = 2;
  const Execution execution = execute(program, ranks, options);
  EXPECT_EQ(executed, (std::vector<std::string>{"0F0@0", "0F1@0", "0B0@0", "0B1@0", "0F0@1", "0F1@1", "0B0@1", "0B1@1"}));
  ASSERT_EQ(execution.timeline.spans.size(), 6u);
  EXPECT_EQ(execution.timeline.span_name(execution.timeline.spans[4]), "(0F1;0B0)OVERLAP_F_B");
  EXPECT_EQ(execution.timeline.spans[4].op.iteration, 1);
}

}  // namespace
}  // namespace bubblescope
