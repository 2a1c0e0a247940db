// What a process of a job prints about its end, and the exit code that it ends with: an error that all have is told once.
#include "bench/job.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "sim/core/error.hpp"
#include "sim/core/index.hpp"
#include "tests/backend/thread_processes.hpp"

namespace bubblescope {
namespace {

using testing::AllOf;
using testing::Each;
using testing::EndsWith;
using testing::StartsWith;
using namespace std::chrono_literals;

/// As torchrun starts one of three processes.
void launch_as(int process) {
  for (const char* const name : {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK", "PMIX_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}) unsetenv(name);
  setenv("TORCHELASTIC_RUN_ID", "test", 1);
  setenv("WORLD_SIZE", "3", 1);
  setenv("RANK", std::to_string(process).c_str(), 1);
  setenv("MASTER_ADDR", "127.0.0.1", 1);
  setenv("MASTER_PORT", "29500", 1);
}

enum class Prints { own, after_the_first, nothing, nothing_at_once, no_error };

/// Whether that process prints what `work` throws. In a process of its own, since a process is launched once.
Prints prints(int process, const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    launch_as(process);
    Prints found = Prints::no_error;
    try {
      work();
    } catch (const std::exception& error) {
      const auto begin = std::chrono::steady_clock::now();
      const bool for_others = is_for_others_to_print(error);
      const bool waited = std::chrono::steady_clock::now() - begin > 1s;
      found = for_others && waited ? Prints::nothing : for_others ? Prints::nothing_at_once : waited ? Prints::after_the_first : Prints::own;
    }
    _exit(static_cast<int>(found));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? static_cast<Prints>(WEXITSTATUS(status)) : Prints::no_error;
}

Scenario on_gpus(const std::string& devices) {
  Scenario scenario;
  scenario.cluster.ranks = 3;
  scenario.backend.name = "cuda";
  scenario.backend.devices = devices;
  return scenario;
}

TEST(Job, what_all_processes_refuse_the_first_one_prints) {
  for (const auto& work : std::vector<std::function<void()>>{[] { require_alone("predict"); }, [] { Job(on_gpus("partitions"), {}); }, [] { Job("", {}); }}) {
    EXPECT_EQ(prints(0, work), Prints::own);
    EXPECT_EQ(prints(1, work), Prints::nothing);
  }
}

// The program without LibTorch has no transport for GPUs, as a host may have no MPI.
TEST(Job, what_fails_before_the_processes_know_of_each_other_each_prints_itself) {
  const auto connect = [] { Job(on_gpus("gpus"), {}); };
  EXPECT_EQ(prints(0, connect), Prints::own);
  EXPECT_EQ(prints(1, connect), Prints::after_the_first);
  const auto read = [] { throw InputError("s.toml: cannot be read"); };
  EXPECT_EQ(prints(0, read), Prints::own);
  EXPECT_EQ(prints(1, read), Prints::after_the_first);
}

TEST(Job, who_is_left_without_the_first_process_prints_unless_that_one_has) {
  const auto losing = [](const std::string& why) {
    return [why] {
      try {
        require_alone("predict");  // looks at who launched it
      } catch (const InputError&) {
      }
      throw LostError(why);
    };
  };
  EXPECT_EQ(prints(1, losing("process 0 (host a, rank 0) was killed or has ended; rank 0 was in op 3")), Prints::own);
  EXPECT_EQ(prints(2, losing("process 0 (host a, rank 0) was killed or has ended; rank 0 was in op 3")), Prints::after_the_first) << "who lives";
  EXPECT_EQ(prints(1, losing("process 0 (host a, rank 0) ended early: out: nothing can be written there")), Prints::nothing);
  EXPECT_EQ(prints(1, losing("process 2 (host b, rank 2) was killed or has ended")), Prints::nothing);
  EXPECT_EQ(prints(0, losing("process 2 (host b, rank 2) was killed or has ended")), Prints::own);
}

/// What in_job throws in each of three processes, of which `who` alone fails.
std::vector<std::string> thrown_where(std::int32_t who, const std::function<void()>& fail) {
  std::vector<std::string> all(3);
  const auto others = ThreadProcesses(3).run([&](World& world) {
    world.watch("process " + std::to_string(world.process()));
    world.barrier();  // all have met
    std::string& thrown = all[static_cast<std::size_t>(world.process())];
    try {
      in_job(&world, [&] {
        if (world.process() == who) fail();
        world.barrier();
        return 0;
      });
    } catch (const InputError& error) {
      thrown = std::string("input: ") + error.what();
    } catch (const RunError& error) {
      thrown = std::string("run: ") + error.what();
    }
  });
  EXPECT_THAT(others, Each(""));
  return all;
}

TEST(InJob, an_error_of_input_in_one_process_is_one_in_all) {
  for (const std::int32_t who : {0, 1}) {
    const auto thrown = thrown_where(who, [] { throw InputError("no such folder"); });
    EXPECT_THAT(thrown, Each(AllOf(StartsWith("input: "), EndsWith("no such folder")))) << who;
    EXPECT_EQ(thrown[static_cast<std::size_t>(who)], "input: no such folder");
    EXPECT_THAT(thrown[2], EndsWith("process " + std::to_string(who) + " ended early: no such folder"));
  }
}

TEST(InJob, any_other_error_is_none_of_input) {
  for (const std::int32_t who : {0, 1}) {
    EXPECT_THAT(thrown_where(who, [] { throw RunError("the disk is full"); }), Each(AllOf(StartsWith("run: "), EndsWith("the disk is full")))) << who;
  }
}

/// What in_job throws in each of three processes that lose one while process 0 works and the others are through.
std::vector<std::string> thrown_when_lost(const std::string& why, bool work_tells) {
  std::vector<std::string> all(3);
  ThreadProcesses processes(3);
  const auto others = processes.run([&](World& world) {
    try {
      const int code = in_job(&world, [&] {
        if (!world.first()) return 0;
        std::this_thread::sleep_for(100ms);
        processes.lose(why);
        if (work_tells) tell_lost(why);
        return 3;
      });
      EXPECT_EQ(code, world.first() ? 3 : 0);
    } catch (const LostError& error) {
      all[at(world.process())] = error.what();
    }
  });
  EXPECT_THAT(others, Each(""));
  return all;
}

TEST(InJob, who_waits_for_the_first_process_knows_that_it_is_lost) {
  EXPECT_THAT(thrown_when_lost("process 0 was killed", true), testing::ElementsAre("", "process 0 was killed", "process 0 was killed"));
}

TEST(InJob, who_is_lost_when_all_is_done_is_named_once) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(thrown_when_lost("process 2 was killed", false).front(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "bubblescope: process 2 was killed; all was done\n");
  testing::internal::CaptureStderr();
  EXPECT_EQ(thrown_when_lost("process 1 was killed", true).front(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "bubblescope: process 1 was killed\n");
}

TEST(InJob, alone_it_is_just_the_work) {
  EXPECT_EQ(in_job(nullptr, [] { return 3; }), 3);
  EXPECT_THROW(in_job(nullptr, []() -> int { throw InputError("bad"); }), InputError);
}

}  // namespace
}  // namespace bubblescope
