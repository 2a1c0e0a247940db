// One execution over several processes: the same ops and messages as in one, whatever is late, and one end for all.
#include "backend/exchange.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "backend/executor.hpp"
#include "backend/fields.hpp"
#include "backend/null.hpp"
#include "sim/core/constraints.hpp"
#include "sim/lower/copy_reduction.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/backend/faulty_transport.hpp"
#include "tests/backend/thread_processes.hpp"
#include "tests/backend/walked.hpp"
#include "tests/sim/fitting_shape.hpp"

namespace bubblescope {
namespace {

using testing::Each;
using testing::HasSubstr;

Program scheduled(const std::string& name, std::int32_t ranks, std::int32_t microbatches, std::map<std::string, std::string> options = {}) {
  ScheduleShape shape{.ranks = ranks, .microbatches = microbatches};
  shape.options = std::move(options);
  return add_send_recv(add_copy_reduction(generate_fitting(find_schedule(name), shape)));
}

/// How far off the first process's idea of any other's clock may be: when it converted times, and when it compared records.
Nanos clocks_of(const Execution& execution) {
  Nanos worst = 0;
  for (const ClockFit& clock : execution.clocks) worst = std::max(worst, clock.error);
  return 2 * worst + 200 * kMicrosecond;
}

/// Op and bytes of everything that was sent or received.
std::multiset<std::pair<Identity, std::int64_t>> messages_of(const Timeline& timeline) {
  std::multiset<std::pair<Identity, std::int64_t>> all;
  for (const Span& span : timeline.spans) {
    if (!is_compute(span.op.kind)) all.insert({identity(span.op), span.bytes});
  }
  return all;
}

Timeline in_one_process(const Program& program, std::int32_t iterations) {
  NullBackend backend(uneven_costs(program.stages()));
  Ranks ranks(backend, program, {});
  ExecuteOptions options;
  options.iterations = iterations;
  return execute(program, ranks, options).timeline;
}

/// Executes all programs in one job.
void expect_conformance(std::int32_t processes, const std::map<std::string, Program>& programs) {
  constexpr std::int32_t kIterations = 2;
  const auto thrown = ThreadProcesses(processes, {.most_delay = 40 * kMicrosecond, .seed = 6}).run([&](World& world) {
    for (const auto& [name, program] : programs) {
      SCOPED_TRACE(fmt::format("{} on {} processes", name, processes));
      NullBackend backend(uneven_costs(program.stages()));
      Ranks ranks(backend, program, {}, &world);
      ExecuteOptions options;
      options.iterations = kIterations;
      options.warmup = 1;
      const Execution execution = execute(program, ranks, options);
      EXPECT_EQ(execution.iterations_done, kIterations);
      EXPECT_FALSE(execution.stopped);
      if (!world.first()) {
        EXPECT_TRUE(execution.timeline.spans.empty());
        continue;
      }
      EXPECT_EQ(execution.clocks.size(), static_cast<std::size_t>(processes));
      const Walked run(program, execution.timeline, kIterations, clocks_of(execution));
      ASSERT_TRUE(run.complete());
      run.check_dependencies(0);
      run.check_rows();
      run.check_waits();
      EXPECT_TRUE(messages_of(execution.timeline) == messages_of(in_one_process(program, kIterations)));
    }
  });
  EXPECT_THAT(thrown, Each(""));
}

/// Every third schedule, from `first` on.
std::map<std::string, Program> third_of_schedules(std::size_t first) {
  std::map<std::string, Program> programs;
  for (std::size_t i = first; i < schedules().size(); i += 3) programs.emplace(schedules()[i].name, scheduled(schedules()[i].name, 4, 4));
  return programs;
}

TEST(Exchange, first_third_of_schedules_runs_on_two_processes) { expect_conformance(2, third_of_schedules(0)); }
TEST(Exchange, second_third_of_schedules_runs_on_two_processes) { expect_conformance(2, third_of_schedules(1)); }
TEST(Exchange, last_third_of_schedules_runs_on_two_processes) { expect_conformance(2, third_of_schedules(2)); }
TEST(Exchange, first_third_of_schedules_runs_on_four_processes) { expect_conformance(4, third_of_schedules(0)); }
TEST(Exchange, second_third_of_schedules_runs_on_four_processes) { expect_conformance(4, third_of_schedules(1)); }
TEST(Exchange, last_third_of_schedules_runs_on_four_processes) { expect_conformance(4, third_of_schedules(2)); }

TEST(Exchange, pipelines_run_in_every_channel_mode_and_with_every_property) {
  std::map<std::string, Program> programs;
  std::vector<std::string> modes = channel_mode_names();
  for (const char* fifo : {"async", "rank"}) {
    for (const char* capacity : {"unbounded", "0", "1"}) {
      for (const char* receive : {"posted", "use"}) {
        for (const char* send : {"immediate", "commit", "hold"}) modes.push_back(fmt::format("{},capacity={},eager=600,receive={},send={}", fifo, capacity, receive, send));
      }
    }
  }
  for (const std::string& mode : modes) {
    Program program = generate_fitting(find_schedule("1f1b"), {.ranks = 2, .microbatches = 4});
    program.channels = {channel_mode(mode)};
    program = add_send_recv(program);
    if (check_progress(program, std::vector<std::int64_t>(2, 1000)).empty()) programs.emplace(mode, program);
  }
  EXPECT_GE(programs.size(), modes.size() - 2);
  expect_conformance(2, programs);
}

// An entry is accepted once the consumer has taken the Q-th before it.
TEST(Exchange, queues_between_processes_never_hold_more_than_their_capacity) {
  const auto thrown = ThreadProcesses(4).run([](World& world) {
    for (const std::int32_t queue : {1, 3}) {
      const Program program = scheduled("ppll", 4, 12, {{"queue", std::to_string(queue)}});
      StageCosts costs = uneven_costs(4);
      costs.at(3, Kind::F).duration = 500 * kMicrosecond;  // all queues fill up
      NullBackend backend(costs);
      Ranks ranks(backend, program, {}, &world);
      const Execution execution = execute(program, ranks, {});
      if (!world.first()) continue;
      const Walked run(program, execution.timeline, 1, clocks_of(execution));
      ASSERT_TRUE(run.complete());
      const auto offsets = row_offsets(run.program());
      int waited = 0;
      for (std::size_t r = 0; r + 1 < 4; ++r) {
        std::vector<Nanos> accepted, taken;
        for (OpIndex i = offsets[r]; i < offsets[r + 1]; ++i) {
          if (run.op(i).kind != Kind::SEND_F) continue;
          accepted.push_back(run.span(i).end);
          waited += run.span(i).wait == Wait::capacity;
        }
        for (OpIndex i = offsets[r + 1]; i < offsets[r + 2]; ++i) {
          if (run.op(i).kind == Kind::F) taken.push_back(run.span(i).start);
        }
        ASSERT_EQ(accepted.size(), taken.size());
        for (std::size_t t = static_cast<std::size_t>(queue); t < accepted.size(); ++t) {
          EXPECT_GE(accepted[t], taken[t - static_cast<std::size_t>(queue)] - clocks_of(execution)) << "entry " << t << " of rank " << r;
        }
      }
      EXPECT_GT(waited, 0);
    }
  });
  EXPECT_THAT(thrown, Each(""));
}

/// What a message says: whose it is. Its body is larger than any head.
struct Numbers : PayloadCodec {
  Parcel encode(const Op&, const Payload& payload) const override { return {FieldsOut().add(payload.bytes).take(), payload.data, payload.bytes}; }
  Payload decode(const Op&, Parcel parcel) const override {
    const auto data = std::make_shared<std::vector<std::int64_t>>(static_cast<std::size_t>(parcel.bytes) / 8);
    if (parcel.bytes > 0) std::memcpy(data->data(), parcel.body.get(), static_cast<std::size_t>(parcel.bytes));
    return {std::shared_ptr<void>(data, data->data()), parcel.bytes};
  }
};

struct Script {
  std::function<void(Rank, const Op&)> execute;
  std::atomic<int> received{0}, reduced{0}, wrong{0};
};

std::int64_t number_of(const Op& op) { return op.iteration * 1000 + op.microbatch; }

/// Sends numbers that say which entry they are, and compares what comes with what should.
class NumberedDevice : public Device {
 public:
  NumberedDevice(Rank rank, Script& script, std::int32_t ranks) : rank_(rank), script_(script), ranks_(ranks) {}
  void execute(const Op& op) override {
    if (script_.execute) script_.execute(rank_, op);
  }
  Payload output(const Op& send) override { return filled(number_of(send)); }
  void input(const Op& recv, Payload payload) override {
    ++script_.received;
    check(payload, number_of(recv));
  }
  Payload contribution(const Op& op) override { return filled(100 * number_of(op) + rank_); }
  void reduced(const Op& op, std::span<const Payload> all) override {
    ++script_.reduced;
    if (static_cast<std::int32_t>(all.size()) != ranks_) ++script_.wrong;
    for (std::size_t r = 0; r < all.size(); ++r) check(all[r], 100 * number_of(op) + static_cast<std::int64_t>(r));
  }
  Payload example(const Op&) override { return filled(0); }

 private:
  static constexpr std::size_t kCount = 1000;
  static Payload filled(std::int64_t number) {
    const auto data = std::make_shared<std::vector<std::int64_t>>(kCount, number);
    return {std::shared_ptr<void>(data, data->data()), 8 * kCount};
  }
  void check(const Payload& payload, std::int64_t number) {
    const auto* numbers = static_cast<const std::int64_t*>(payload.data.get());
    if (payload.bytes != 8 * kCount || !std::all_of(numbers, numbers + kCount, [number](std::int64_t one) { return one == number; })) ++script_.wrong;
  }
  Rank rank_;
  Script& script_;
  std::int32_t ranks_;
};

class NumberedBackend : public Backend {
 public:
  explicit NumberedBackend(Script& script) : script_(script) {}
  std::string name() const override { return "numbered"; }
  std::unique_ptr<Device> device(Rank rank, const Program& program) override { return std::make_unique<NumberedDevice>(rank, script_, program.ranks()); }
  const PayloadCodec& codec() const override { return codec_; }

 private:
  Script& script_;
  Numbers codec_;
};

TEST(Exchange, devices_are_given_the_entries_meant_for_them_and_what_all_contributed) {
  Script script;  // of all processes
  const auto thrown = ThreadProcesses(4, {.most_delay = kMillisecond, .seed = 9}).run([&](World& world) {
    NumberedBackend backend(script);
    ExecuteOptions options;
    options.iterations = 10;
    options.first_iteration = 5;
    options.record = false;
    for (const char* queue : {"0", "2"}) {
      const Program queued = scheduled("ppll", 4, 3, {{"queue", queue}});
      Ranks ranks(backend, queued, {}, &world);
      execute(queued, ranks, options);
    }
    const Program barriers = scheduled("sequential-local", 4, 3, {{"variant", "overlapped"}});
    Ranks ranks(backend, barriers, {}, &world);
    const Execution execution = execute(barriers, ranks, options);
    EXPECT_EQ(execution.next_iteration, 15);
    EXPECT_TRUE(execution.timeline.spans.empty());
  });
  EXPECT_THAT(thrown, Each(""));
  EXPECT_EQ(script.wrong, 0);
  EXPECT_EQ(script.reduced, 4 * 3 * 10);
  EXPECT_GE(script.received, 2 * (3 * 3 * 10));
}

TEST(Exchange, a_stop_in_any_process_ends_all_after_the_same_iteration) {
  for (Rank where = 0; where < 4; ++where) {
    std::vector<std::atomic<bool>> stop(4);
    std::vector<std::atomic<std::int32_t>> last(4), done(4);
    Script script;
    script.execute = [&](Rank rank, const Op& op) {
      last[static_cast<std::size_t>(rank)] = op.iteration;
      if (rank == where && op.iteration == 3) stop[static_cast<std::size_t>(rank)] = true;
    };
    const auto thrown = ThreadProcesses(4, {.most_delay = 300 * kMicrosecond, .seed = 11}).run([&](World& world) {
      const Program program = scheduled("ppll", 4, 2, {{"queue", "3"}});
      NumberedBackend backend(script);
      Ranks ranks(backend, program, {}, &world);
      ExecuteOptions options;
      options.iterations = 1'000'000;
      options.record = false;
      options.stop = &stop[static_cast<std::size_t>(world.process())];
      const Execution execution = execute(program, ranks, options);
      EXPECT_TRUE(execution.stopped);
      done[static_cast<std::size_t>(world.process())] = execution.iterations_done;
    });
    EXPECT_THAT(thrown, Each(""));
    EXPECT_GE(done[0], 4);
    for (std::size_t p = 0; p < 4; ++p) {
      EXPECT_EQ(done[p], done[0]);
      EXPECT_EQ(last[p], done[0] - 1);
    }
  }
}

std::string failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const LostError& error) {
    return std::string("lost: ") + error.what();
  } catch (const RunError& error) {
    return error.what();
  }
  return "no failure";
}

TEST(Exchange, a_device_that_fails_fails_all_processes_with_the_same_words_and_the_job_goes_on) {
  const std::string much(5000, '!');  // more than is told at once
  for (const Rank failing : {0, 3}) {
    for (const char* schedule : {"1f1b", "ppll", "sequential-local"}) {
      Script script;
      std::atomic<bool> healthy{false};
      script.execute = [&](Rank rank, const Op& op) {
        if (!healthy && rank == failing && op.iteration == 12 && op.microbatch == 1 && op.kind == Kind::F) throw RunError("the loss is not a number" + much);
      };
      std::mutex mutex;
      std::set<std::string> failures;
      const auto thrown = ThreadProcesses(2).run([&](World& world) {
        const Program program = scheduled(schedule, 4, 4);
        NumberedBackend backend(script);
        Ranks ranks(backend, program, {}, &world);
        ExecuteOptions options;
        options.first_iteration = 10;
        options.iterations = 5;
        const std::string failure = failure_of([&] { execute(program, ranks, options); });
        {
          const std::lock_guard lock(mutex);
          failures.insert(failure);
        }
        world.barrier();
        healthy = true;
        EXPECT_EQ(execute(program, ranks, options).iterations_done, 5);
      });
      EXPECT_THAT(thrown, Each(""));
      ASSERT_EQ(failures.size(), 1u);
      EXPECT_THAT(*failures.begin(), testing::AllOf(testing::StartsWith(fmt::format("rank {}, op ", failing)), HasSubstr(fmt::format("({}F1), iteration 12: the loss is not a number", failing))));
      EXPECT_THAT(*failures.begin(), testing::EndsWith(much)) << "the whole of it";
    }
  }
}

TEST(Exchange, a_process_that_is_lost_ends_all_soon) {
  for (const char* schedule : {"1f1b", "ppll", "sequential-local"}) {
    ThreadProcesses processes(4);
    std::atomic<bool> under_way{false};
    std::atomic<Nanos> lost{0};
    Script script;
    script.execute = [&](Rank rank, const Op& op) {
      if (rank == 2 && op.iteration == 2) under_way = true;
      if (rank == 2 && under_way) std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the others wait for it
    };
    std::thread end([&] {
      while (!under_way) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      lost = steady_now();
      processes.lose("process 2 was killed");
    });
    const auto thrown = processes.run([&](World& world) {
      const Program program = scheduled(schedule, 4, 4);
      NumberedBackend backend(script);
      Ranks ranks(backend, program, {}, &world);
      ExecuteOptions options;
      options.iterations = 1000;
      EXPECT_EQ(failure_of([&] { execute(program, ranks, options); }), "lost: process 2 was killed");
    });
    end.join();
    EXPECT_THAT(thrown, Each(""));
    EXPECT_LT(steady_now() - lost, 2 * kSecond);
  }
}

/// One process's end of an execution of which nothing is executed.
struct End {
  End(World& world, const Program& program, const PayloadCodec& codec)
      : plan(make_plan(program, {})), bells(program.rows.size()), groups{everyone(program.ranks())}, exchange(world, plan, groups, program.ranks(), codec),
        channels(plan, bells, &exchange), meetings(groups, bells, &exchange), control(1, nullptr, bells, &exchange) {
    exchange.begin(channels, meetings, control);
  }
  ~End() { exchange.end(); }
  static GroupPlan everyone(std::int32_t ranks) {
    GroupPlan group;
    for (Rank r = 0; r < ranks; ++r) group.members.push_back(r);
    return group;
  }

  Plan plan;
  std::vector<Bell> bells;
  std::vector<GroupPlan> groups;
  Exchange exchange;
  Channels channels;
  Meetings meetings;
  RunControl control;
};

TEST(Exchange, a_contribution_is_encoded_once_for_all_who_are_given_it) {
  struct Counted final : Numbers {
    Parcel encode(const Op& op, const Payload& payload) const override {
      ++encoded;
      return Numbers::encode(op, payload);
    }
    mutable std::atomic<int> encoded{0};
  };
  const auto thrown = ThreadProcesses(4).run([](World& world) {
    const Counted codec;
    End end(world, scheduled("1f1b", 4, 4), codec);
    const auto own = std::make_shared<std::vector<std::int64_t>>(100, world.process());
    const Payload mine{std::shared_ptr<void>(own, own->data()), 800};
    end.meetings.arrive(0, 0, world.process(), mine, steady_now(), {});
    MeetingResult result;
    world.wait([&] { return end.meetings.complete(0, 0, result); });
    EXPECT_EQ(codec.encoded, 1);
    ASSERT_EQ(result.contributions->size(), 4u);
    for (std::size_t p = 0; p < 4; ++p) {
      const auto* const numbers = static_cast<const std::int64_t*>((*result.contributions)[p].data.get());
      EXPECT_TRUE(std::all_of(numbers, numbers + 100, [p](std::int64_t one) { return one == static_cast<std::int64_t>(p); }));
    }
    world.barrier();
  });
  EXPECT_THAT(thrown, Each(""));
}

TEST(Exchange, a_failure_is_told_to_whom_it_can_be) {
  std::array<Faults, 4> faults;
  std::atomic<int> told{0};
  const auto thrown = ThreadProcesses(faulty(thread_transports(4), faults)).run([&](World& world) {
    const Numbers codec;
    End end(world, scheduled("1f1b", 4, 4), codec);
    world.barrier();
    const Nanos until = steady_now() + 10 * kSecond;
    if (world.process() == 0) {
      faults[0].unreachable = 1;
      EXPECT_THROW(end.exchange.failed("broken"), RunError);
      while (told < 2 && steady_now() < until) wait_until(steady_now() + kMillisecond);
    } else if (world.process() > 1) {
      world.wait([&] { return end.control.failed() || steady_now() > until; });
      EXPECT_TRUE(end.control.failed()) << "process " << world.process();
      ++told;
    }
    world.wait([&] { return steady_now() > until; });
  });
  EXPECT_EQ(told, 2);
  EXPECT_EQ(thrown[0], "nothing can be sent") << "who cannot be told waits without end";
  EXPECT_THAT(thrown[1], HasSubstr(thrown[0]));
}

TEST(Exchange, words_that_it_does_not_know_are_a_loss_that_says_so) {
  const auto thrown = ThreadProcesses(2).run([](World& world) {
    if (world.process() == 1) return world.send(world.new_session(), 0, "\x7f");
    const Numbers codec;
    End end(world, scheduled("1f1b", 2, 2), codec);
    const Nanos until = steady_now() + 10 * kSecond;
    world.wait([&] { return steady_now() > until; });
  });
  EXPECT_THAT(thrown[0], HasSubstr("process 1 says something of a kind that is not known"));
  EXPECT_EQ(thrown[1], "");
}

TEST(Exchange, a_program_that_cannot_be_shared_among_the_processes_is_refused_by_all) {
  const auto thrown = ThreadProcesses(3).run([](World& world) {
    const Program program = scheduled("1f1b", 4, 4);
    NullBackend backend{StageCosts(4)};
    EXPECT_THROW(Ranks(backend, program, {}, &world), InputError);
    world.barrier();
  });
  EXPECT_THAT(thrown, Each(""));
}

}  // namespace
}  // namespace bubblescope
