// Lifelines of threads that stand in for processes, and of real processes that are killed and stopped. Those are
// forked by a process that has no other thread at that time, so that sanitizers can follow.
#include "backend/lifeline.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "backend/lifeline_meeting.hpp"
#include "backend/socket.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kTold = 10s;  ///< what is noticed at once, on a busy machine

std::string name_of(int process) { return fmt::format("process {} (host h{}, ranks {} to {})", process, process, 2 * process, 2 * process + 1); }
std::string state_of(int process) { return fmt::format("rank {} was in op 5 (3F2), iteration 7", 2 * process); }

// ---- Threads that stand in for processes.

/// What one of them was told.
class Told {
 public:
  void set(std::string why) {
    const std::lock_guard lock(mutex_);
    all_.push_back(std::move(why));
  }
  std::vector<std::string> all() const {
    const std::lock_guard lock(mutex_);
    return all_;
  }
  std::string await(SteadyClock::duration time = kTold) const {
    for (const Deadline end = SteadyClock::now() + time; all().empty() && SteadyClock::now() < end;) std::this_thread::sleep_for(1ms);
    return all().size() == 1 ? all()[0] : fmt::format("told {} times", all().size());
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> all_;
};

/// A job of threads: the place that process 0 broadcasts, and everybody's lifeline.
class Job {
 public:
  explicit Job(int processes, LifelineOptions options = {20ms, 60s, 20s}) : lines(static_cast<std::size_t>(processes)), told(lines.size()), errors(lines.size()), options_(options), place_(said_.get_future()) {}
  ~Job() { await(); }

  /// Constructs the lifeline of a process, in a thread.
  void start(int process) {
    threads_.emplace_back([this, process] {
      const std::size_t i = static_cast<std::size_t>(process);
      try {
        lines[i] = std::make_unique<Lifeline>(
            process, static_cast<int>(lines.size()), name_of(process), [this, process](std::string mine) { return broadcast(process, std::move(mine)); }, [this, i](std::string why) { told[i].set(std::move(why)); }, options_);
      } catch (const RunError& error) {
        errors[i] = error.what();
      }
    });
  }
  void await() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  void start_all() {
    for (int process = 0; process < static_cast<int>(lines.size()); ++process) start(process);
    await();
    for (const std::string& error : errors) EXPECT_EQ(error, "");
  }
  /// Where process 0 can be met.
  MeetingPlace place() { return read_place(place_.get()); }
  /// Takes process 0's place in the broadcast.
  void say(const MeetingPlace& place) { said_.set_value(encoded(place)); }

 private:
  std::string broadcast(int process, std::string mine) {
    if (process == 0) said_.set_value(mine);
    return place_.get();
  }

 public:
  std::vector<std::unique_ptr<Lifeline>> lines;
  std::vector<Told> told;
  std::vector<std::string> errors;

 private:
  LifelineOptions options_;
  std::promise<std::string> said_;
  std::shared_future<std::string> place_;
  std::vector<std::thread> threads_;
};

TEST(Lifeline, nobody_is_lost_while_all_live_and_when_all_leave) {
  for (const std::vector<std::size_t>& order : {std::vector<std::size_t>{0, 1, 2}, {2, 0, 1}, {1, 2, 0}}) {
    Job job(3);
    job.start_all();
    std::this_thread::sleep_for(100ms);
    for (const std::size_t process : order) {
      job.lines[process]->leave();
      job.lines[process].reset();
      std::this_thread::sleep_for(30ms);
    }
    for (const Told& told : job.told) EXPECT_THAT(told.all(), ::testing::IsEmpty());
  }
}

TEST(Lifeline, one_process_alone_needs_nobody) {
  Lifeline line(0, 1, "process 0", [](std::string mine) { return mine; }, [](std::string) { FAIL(); });
  line.set_state_source([] { return "x"; });
  line.leave("an error");
}

TEST(Lifeline, an_error_of_one_process_is_told_to_the_others) {
  for (const std::size_t who : {0u, 1u, 2u}) {
    Job job(3);
    job.start_all();
    const std::string name = name_of(static_cast<int>(who));
    job.lines[who]->leave("out of memory");
    job.lines[who].reset();
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(i == who ? "" : job.told[i].await(), i == who ? "" : name + " ended early: out of memory");
    }
    EXPECT_THAT(job.told[who].all(), ::testing::IsEmpty());
  }
}

TEST(Lifeline, the_first_of_two_errors_is_told_once) {
  Job job(4);
  job.start_all();
  std::thread first([&] { job.lines[1]->leave("first"); }), second([&] { job.lines[2]->leave("second"); });
  first.join();
  second.join();
  const std::string why = job.told[0].await();
  EXPECT_THAT(why, MatchesRegex("process [12] .* ended early: (first|second)"));
  EXPECT_EQ(job.told[3].await(), why);
}

TEST(Lifeline, asks_nobody_for_the_state_after_that_was_taken_back) {
  Job job(2);
  job.start_all();
  std::atomic<int> asked{0};
  job.lines[1]->set_state_source([&] { return fmt::format("asked {} times", ++asked); });
  for (const Deadline end = SteadyClock::now() + kTold; asked < 3 && SteadyClock::now() < end;) std::this_thread::sleep_for(1ms);
  job.lines[1]->set_state_source({});
  const int before = asked;
  EXPECT_GE(before, 3);
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(asked, before);
}

TEST(Lifeline, leaving_from_the_callback_does_not_wait_for_itself) {
  std::promise<std::string> said;
  const std::shared_future<std::string> place = said.get_future();
  std::atomic<Lifeline*> line{nullptr};
  Told told;
  std::thread other([&] {
    Lifeline own(1, 2, "process 1", [&](std::string) { return place.get(); }, [](std::string) {});
    own.leave("an error");
  });
  {
    Lifeline own(
        0, 2, "process 0",
        [&](std::string mine) {
          said.set_value(mine);
          return mine;
        },
        [&](std::string why) {
          while (line == nullptr) std::this_thread::yield();
          line.load()->leave();
          told.set(why);
        },
        {20ms, 60s, 500ms});
    line = &own;
    EXPECT_EQ(told.await(), "process 1 ended early: an error");
  }
  other.join();
}

TEST(Lifeline, strangers_at_the_port_do_no_harm) {
  Job job(2);
  job.start(0);
  const MeetingPlace place = job.place();
  std::vector<Socket> strangers;
  for (const std::string& said : {std::string(), std::string("GET / HTTP/1.1\r\n\r\n"), std::string(1 << 20, '\xff'), place.greeting, place.greeting + std::string("\1\0\0\0n\xff\xff\xff\xff", 9)}) {
    for (int i = 0; i < 10; ++i) {
      strangers.push_back(connect_to("127.0.0.1", place.port, SteadyClock::now() + 5s));
      std::string bytes = said;
      strangers.back().write(bytes);
    }
  }
  job.start(1);
  job.await();
  EXPECT_THAT(job.errors, ::testing::Each(""));
  bool open = true;
  for (const Deadline end = SteadyClock::now() + kTold; open && SteadyClock::now() < end;) {
    try {
      connect_to("127.0.0.1", place.port, SteadyClock::now() + 5s);
    } catch (const RunError&) {
      open = false;
    }
  }
  EXPECT_FALSE(open) << "strangers are let in although all have joined";
  job.lines[1]->leave("done");
  EXPECT_EQ(job.told[0].await(), name_of(1) + " ended early: done");
}

TEST(Lifeline, process_0_says_who_did_not_connect_and_so_do_the_others) {
  Job job(4, {20ms, 60s, 500ms});
  job.start(0);
  job.start(2);
  job.await();
  EXPECT_THAT(job.errors[0], HasSubstr("processes 1, 3 of 4 did not connect to it within 0.5 s"));
  EXPECT_EQ(job.errors[2], "");
  EXPECT_THAT(job.told[2].await(), StartsWith(name_of(0) + " ended early: processes 1, 3 of 4 did not connect"));
}

TEST(Lifeline, a_process_that_reaches_nobody_says_what_it_tried) {
  Job job(2, {20ms, 60s, 300ms});
  MeetingPlace place;
  {
    const Socket listening = listen_everywhere();
    place = meeting_place(port_of(listening), name_of(0));
  }
  job.say(place);
  job.start(1);
  job.await();
  EXPECT_THAT(job.errors[1], StartsWith(name_of(1) + " does not reach " + name_of(0)));
  for (const std::string& address : own_addresses()) EXPECT_THAT(job.errors[1], HasSubstr(address));
  EXPECT_THAT(job.errors[1], HasSubstr("127.0.0.1: Connection refused"));
}

TEST(Lifeline, where_process_0_cannot_listen_the_others_are_told) {
  Job job(2);
  MeetingPlace nowhere;
  nowhere.host = "no port";
  job.say(nowhere);
  job.start(1);
  job.await();
  EXPECT_EQ(job.errors[1], "process 0 cannot be connected to: no port");
}

/// What process 1 takes for process 0: the test says all that it says.
Socket stand_in_for_process_0(Job& job) {
  const Socket listening = listen_everywhere();
  const MeetingPlace place = meeting_place(port_of(listening), name_of(0));
  job.say(place);
  job.start(1);
  pollfd ready{listening.file(), POLLIN, 0};
  poll(&ready, 1, 10'000);
  Socket socket = accept_from(listening);
  send_all(socket, place.answer, SteadyClock::now() + 5s);
  job.await();
  EXPECT_EQ(job.errors[1], "");
  return socket;
}

// It reads nothing, so that no goodbye gets through.
TEST(Lifeline, leaving_takes_no_longer_than_two_seconds) {
  Job job(2, {5ms, 60s, 20s});
  const Socket process_0 = stand_in_for_process_0(job);
  std::atomic<int> asked{0};
  job.lines[1]->set_state_source([&] { return fmt::format("{}{}", std::string(60'000, 'x'), ++asked); });
  while (asked < 100) std::this_thread::sleep_for(1ms);
  const auto begin = SteadyClock::now();
  job.lines[1].reset();
  EXPECT_LT(SteadyClock::now() - begin, 2s);
}

TEST(Lifeline, nonsense_of_another_process_is_its_loss) {
  Job job(2);
  Socket process_0 = stand_in_for_process_0(job);
  send_all(process_0, "??", SteadyClock::now() + 5s);
  EXPECT_THAT(job.told[1].await(), StartsWith(name_of(0) + " said what is no sign of life"));
}

// A state source that waits stands in for a process that is stopped; meanwhile the connection is closed without a word.
TEST(Lifeline, a_connection_that_closed_while_this_process_did_not_run_is_its_own_loss) {
  Job job(2, {20ms, 1s, 20s});
  Socket process_0 = stand_in_for_process_0(job);
  std::atomic<bool> asked{false};
  job.lines[1]->set_state_source([&] {
    if (!asked.exchange(true)) std::this_thread::sleep_for(1200ms);
    return std::string();
  });
  while (!asked) std::this_thread::sleep_for(1ms);
  process_0.close();
  EXPECT_THAT(job.told[1].await(), MatchesRegex("this process was silent for 1\\.[0-9] s; the others have gone on without it"));
}

// It had no time to be heard: its time begins anew, and ends.
TEST(Lifeline, nobody_is_blamed_for_the_time_that_this_process_did_not_run) {
  Job job(2, {20ms, 1s, 20s});
  const Socket process_0 = stand_in_for_process_0(job);
  std::atomic<int> asked{0};
  job.lines[1]->set_state_source([&] {
    if (++asked == 1) std::this_thread::sleep_for(1200ms);
    return std::string();
  });
  for (const Deadline end = SteadyClock::now() + kTold; asked < 3 && SteadyClock::now() < end;) std::this_thread::sleep_for(1ms);
  EXPECT_THAT(job.told[1].all(), ::testing::IsEmpty());
  EXPECT_EQ(job.told[1].await(), name_of(0) + " has not answered for 1 s (stopped, or its host hangs)");
}

// ---- Real processes.

/// Both ends of a pipe.
struct Pipe {
  Pipe() { EXPECT_EQ(pipe(files.data()), 0); }
  Pipe(const Pipe&) = delete;
  ~Pipe() {
    for (const int file : files) close(file);
  }
  void write(const std::string& text) const { EXPECT_EQ(::write(files[1], text.data(), text.size()), static_cast<ssize_t>(text.size())); }
  /// Up to the next end of a text; "nothing" where none comes.
  std::string read(SteadyClock::duration time) const {
    std::string text;
    for (const Deadline end = SteadyClock::now() + time; SteadyClock::now() < end;) {
      pollfd ready{files[0], POLLIN, 0};
      if (poll(&ready, 1, 10) <= 0) continue;
      char next = 0;
      if (::read(files[0], &next, 1) != 1) break;
      if (next == '\0') return text;
      text += next;
    }
    return "nothing";
  }
  std::array<int, 2> files{};
};

/// A job of processes. Each says `joined`, then what it was told, and does what it is asked to: `l` leave and end,
/// `e` end early because of an error.
class Processes {
 public:
  Processes(int count, std::chrono::milliseconds silence) : pipes_(3 * static_cast<std::size_t>(count)), silence_(silence) {
    fflush(nullptr);
    for (int process = 0; process < count; ++process) {
      const pid_t parent = getpid(), child = fork();
      if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) live(process, count);
        _exit(0);
      }
      children_.push_back(child);
    }
    for (int process = 0; process < count; ++process) EXPECT_EQ(hear(process), "joined");
  }
  ~Processes() {
    for (const pid_t child : children_) kill(child, SIGKILL);
    for (const pid_t child : children_) waitpid(child, nullptr, 0);
  }
  void send(int process, int signal) const { EXPECT_EQ(kill(children_[static_cast<std::size_t>(process)], signal), 0); }
  void send_all(int signal) const {
    for (std::size_t i = 0; i < children_.size(); ++i) send(static_cast<int>(i), signal);
  }
  void ask(int process, const std::string& what) const { pipe_of(process, 1).write(what + '\0'); }
  std::string hear(int process, SteadyClock::duration time = kTold) const { return pipe_of(process, 2).read(time); }

 private:
  const Pipe& pipe_of(int process, int which) const { return pipes_[3 * static_cast<std::size_t>(process) + static_cast<std::size_t>(which)]; }

  void live(int process, int count) const {
    const auto broadcast = [&](std::string mine) {
      if (process != 0) return received(pipe_of(process, 0));
      for (int other = 1; other < count; ++other) pipe_of(other, 0).write(fmt::format("{:08}", mine.size()) + mine);
      return mine;
    };
    const auto say = [&](const std::string& text) { pipe_of(process, 2).write(text + '\0'); };
    try {
      Lifeline line(process, count, name_of(process), broadcast, say, {20ms, silence_, 20s});
      line.set_state_source([&] { return state_of(process); });
      std::this_thread::sleep_for(200ms);  // until that is told
      say("joined");
      const std::string asked = pipe_of(process, 1).read(60s);
      if (asked == "e") line.leave("an error");
      else line.leave();
    } catch (const std::exception& error) {
      say(error.what());
    }
  }
  static std::string received(const Pipe& from) {
    const auto read_all = [&](std::size_t bytes) {
      std::string all(bytes, '\0');
      for (std::size_t have = 0; have < bytes;) have += static_cast<std::size_t>(std::max<ssize_t>(::read(from.files[0], all.data() + have, bytes - have), 0));
      return all;
    };
    return read_all(std::stoul(read_all(8)));
  }

  std::vector<Pipe> pipes_;
  std::chrono::milliseconds silence_;
  std::vector<pid_t> children_;
};

TEST(LifelineOfProcesses, one_that_is_killed_is_noticed_and_named_everywhere) {
  for (const int lost : {1, 2}) {
    const Processes job(3, 60s);
    job.send(lost, SIGKILL);
    for (const int process : {0, 3 - lost}) EXPECT_EQ(job.hear(process), name_of(lost) + " was killed or has ended; " + state_of(lost));
  }
}

TEST(LifelineOfProcesses, process_0_is_noticed_when_it_is_killed) {
  const Processes job(3, 60s);
  job.send(0, SIGKILL);
  for (const int process : {1, 2}) EXPECT_EQ(job.hear(process), name_of(0) + " was killed or has ended; " + state_of(0));
}

TEST(LifelineOfProcesses, two_that_are_killed_leave_nobody_waiting) {
  const Processes job(4, 60s);
  job.send(1, SIGKILL);
  job.send(2, SIGKILL);
  const std::string why = job.hear(0);
  EXPECT_THAT(why, MatchesRegex("process [12] .* was killed or has ended; rank [24] was .*"));
  EXPECT_EQ(job.hear(3), why);
}

TEST(LifelineOfProcesses, an_error_of_process_0_is_no_kill_although_it_ends_at_once) {
  const Processes job(3, 60s);
  job.ask(0, "e");
  for (const int process : {1, 2}) EXPECT_EQ(job.hear(process), name_of(0) + " ended early: an error");
}

TEST(LifelineOfProcesses, process_0_tells_of_a_loss_before_it_ends_itself) {
  const Processes job(4, 60s);
  job.send(1, SIGKILL);
  EXPECT_EQ(job.hear(0), name_of(1) + " was killed or has ended; " + state_of(1));
  job.send(0, SIGKILL);
  for (const int process : {2, 3}) EXPECT_EQ(job.hear(process), name_of(1) + " was killed or has ended; " + state_of(1));
}

TEST(LifelineOfProcesses, one_that_is_stopped_is_noticed_and_says_so_itself_when_it_goes_on) {
  for (const int stopped : {1, 0}) {
    const Processes job(3, 1s);
    job.send(stopped, SIGSTOP);
    for (const int process : {1 - stopped, 2}) EXPECT_EQ(job.hear(process), name_of(stopped) + " has not answered for 1 s (stopped, or its host hangs); " + state_of(stopped));
    job.send(stopped, SIGCONT);
    EXPECT_THAT(job.hear(stopped), MatchesRegex("this process was silent for [0-9.]+ s; the others have gone on without it"));
  }
}

TEST(LifelineOfProcesses, one_that_was_stopped_says_so_where_the_others_have_ended_meanwhile) {
  const Processes job(3, 1s);
  job.send(1, SIGSTOP);
  for (const int process : {0, 2}) job.hear(process);
  for (const int process : {0, 2}) job.ask(process, "l");
  std::this_thread::sleep_for(300ms);
  job.send(1, SIGCONT);
  EXPECT_THAT(job.hear(1), MatchesRegex("this process was silent for [0-9.]+ s; the others have gone on without it"));
}

TEST(LifelineOfProcesses, nobody_is_blamed_where_all_were_stopped_together) {
  const Processes job(3, 1s);
  job.send_all(SIGSTOP);
  std::this_thread::sleep_for(1500ms);
  job.send_all(SIGCONT);
  for (const int process : {0, 1, 2}) EXPECT_EQ(job.hear(process, 200ms), "nothing");
  job.ask(1, "e");
  for (const int process : {0, 2}) EXPECT_EQ(job.hear(process), name_of(1) + " ended early: an error");
}

TEST(LifelineOfProcesses, one_that_is_stopped_for_less_is_not_lost) {
  const Processes job(2, 60s);
  job.send(1, SIGSTOP);
  std::this_thread::sleep_for(300ms);
  job.send(1, SIGCONT);
  job.ask(0, "l");
  job.ask(1, "l");
  for (const int process : {0, 1}) EXPECT_EQ(job.hear(process, 300ms), "nothing");
}

}  // namespace
}  // namespace bubblescope
