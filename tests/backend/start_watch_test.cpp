// Processes of a job that are stopped while it starts, seen by the others of their host.
#include "backend/start_watch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace bubblescope {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr const char* kVariable = "BUBBLESCOPE_TEST_RANK";

/// Processes of this one that sleep, with these numbers.
class StartWatchTest : public testing::Test {
 protected:
  void start(const std::vector<int>& numbers) {
    for (const int number : numbers) {
      std::string variable = kVariable + ("=" + std::to_string(number)), name = "sleep", time = "60";
      char* const arguments[] = {name.data(), time.data(), nullptr};
      std::vector<char*> variables{variable.data()};
      for (char** other = environ; *other != nullptr; ++other) variables.push_back(*other);
      variables.push_back(nullptr);
      const pid_t child = fork();
      if (child == 0) {
        execve("/bin/sleep", arguments, variables.data());
        _exit(1);
      }
      children_.push_back(child);
    }
    wait_until([&] { return siblings(getpid(), kVariable, job_marks()).size() == children_.size(); });
  }
  void send(std::size_t child, int sign, bool stopped) {
    kill(children_[child], sign);
    wait_until([&] { return siblings(getpid(), kVariable, job_marks()).at(child).stopped == stopped; });
  }
  template <typename Condition>
  static void wait_until(const Condition& condition) {
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), end);
      std::this_thread::sleep_for(1ms);
    }
  }
  ~StartWatchTest() override {
    for (const pid_t child : children_) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
  }
  Launch launch(std::int32_t process) const { return {"a test", static_cast<std::int32_t>(children_.size()), process, kVariable}; }

  std::vector<pid_t> children_;
};

TEST_F(StartWatchTest, finds_what_its_launcher_started_and_what_is_stopped) {
  EXPECT_THAT(siblings(getpid(), kVariable, job_marks()), IsEmpty());
  start({0, 3, 12});
  send(1, SIGSTOP, true);
  EXPECT_THAT(siblings(getpid(), kVariable, job_marks()), ElementsAre(Sibling{0, false}, Sibling{3, true}, Sibling{12, false}));
  EXPECT_THAT(siblings(getpid(), "BUBBLESCOPE_TEST", job_marks()), IsEmpty()) << "another variable, which begins likewise";
  EXPECT_THAT(siblings(getppid(), kVariable, job_marks()), IsEmpty());
  send(1, SIGCONT, false);
}

TEST_F(StartWatchTest, the_first_one_that_is_not_stopped_is_told) {
  start({0, 1, 2});
  send(0, SIGSTOP, true);
  std::promise<std::string> told;
  std::atomic<bool> others = false;
  const StartWatchOptions options{.period = 2ms, .looks = 5, .parent = getpid()};
  const StartWatch second(launch(2), [&](const std::string&) { others = true; }, [] {}, options);
  {
    const StartWatch first(launch(1), [&](const std::string& why) { told.set_value(why); }, [] {}, options);
    auto answer = told.get_future();
    ASSERT_EQ(answer.wait_for(10s), std::future_status::ready);
    EXPECT_EQ(answer.get(), "process 0 was stopped while the processes of the job were starting");
  }
  EXPECT_FALSE(others);
}

TEST_F(StartWatchTest, another_job_of_the_same_launcher_is_not_meant) {
  start({0});
  setenv("PMIX_NAMESPACE", "mine", 1);
  EXPECT_THAT(siblings(getpid(), kVariable, job_marks()), IsEmpty());
  unsetenv("PMIX_NAMESPACE");
  EXPECT_THAT(siblings(getpid(), kVariable, job_marks()), ElementsAre(Sibling{0, false}));
}

TEST_F(StartWatchTest, a_long_start_is_told_once_by_the_first_one) {
  start({0, 1});
  std::atomic<int> first = 0, second = 0;
  {
    const StartWatchOptions options{.period = 2ms, .looks_until_word = 5, .parent = getpid()};
    const StartWatch one(launch(0), [](const std::string&) {}, [&] { ++first; }, options), two(launch(1), [](const std::string&) {}, [&] { ++second; }, options);
    wait_until([&] { return first > 0; });
    std::this_thread::sleep_for(100ms);
  }
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 0);
}

TEST(StopCounter, who_goes_on_in_between_is_not_lost) {
  StopCounter counter(3);
  const std::vector<Sibling> both{{0, false}, {4, true}}, none{{0, false}, {4, false}};
  for (const auto* look : {&both, &both, &none, &both, &both}) EXPECT_EQ(counter.look(*look), std::nullopt);
  EXPECT_EQ(counter.look(both), 4);
}

}  // namespace
}  // namespace bubblescope
