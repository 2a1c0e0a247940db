// Child processes.
#include "bench/child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

constexpr std::size_t kKept = 64 * 1024;
constexpr auto kGrace = std::chrono::seconds(3);
constexpr auto kLast = std::chrono::seconds(10);  ///< after which a process that was killed is left to itself

/// In the child: nothing here allocates. Returns only where it failed.
void become_program(char* const* argv, int errors, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before
  setpgid(0, 0);
  const int nothing = open("/dev/null", O_RDWR);
  dup2(nothing, STDIN_FILENO);
  dup2(nothing, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  execv("/proc/self/exe", argv);
}

/// Reads what there is within a tenth of a second; false at the end of the file.
bool read_some(int file, std::string& into) {
  pollfd ready{file, POLLIN, 0};
  if (poll(&ready, 1, 100) <= 0) return true;
  std::array<char, 4096> piece{};
  const ssize_t count = read(file, piece.data(), piece.size());
  if (count <= 0) return count < 0 && errno == EINTR;
  into.append(piece.data(), static_cast<std::size_t>(count));
  if (into.size() > kKept) into.erase(0, into.size() - kKept);
  return true;
}

}  // namespace

ChildEnd run_child(const std::vector<std::string>& arguments, const std::function<bool()>& cut) {
  std::vector<char*> argv{const_cast<char*>("bubblescope")};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::array<int, 2> pipe{};
  if (pipe2(pipe.data(), O_CLOEXEC) != 0) throw RunError(fmt::format("no process can be started: {}", std::strerror(errno)));
  signal(SIGCHLD, SIG_DFL);  // where it is ignored, children cannot be waited for
  const pid_t parent = getpid(), child = fork();
  if (child == 0) {
    become_program(argv.data(), pipe[1], parent);
    _exit(127);
  }
  close(pipe[1]);
  if (child < 0) {
    close(pipe[0]);
    throw RunError(fmt::format("no process can be started: {}", std::strerror(errno)));
  }
  ChildEnd end;
  std::chrono::steady_clock::time_point asked;
  int status = 0;
  for (bool open = true;;) {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) break;
    if (ended < 0 && errno != EINTR) throw RunError(fmt::format("a process cannot be waited for: {}", std::strerror(errno)));
    if (end.cut && std::chrono::steady_clock::now() - asked > kGrace + kLast) throw RunError(fmt::format("process {} does not end, although it was killed", child));
    if (open) open = read_some(pipe[0], end.said);
    else usleep(10'000);
    if (!end.cut && cut()) {
      end.cut = true;
      asked = std::chrono::steady_clock::now();
      kill(child, SIGTERM);
    }
    if (end.cut && std::chrono::steady_clock::now() - asked > kGrace) kill(child, SIGKILL);
  }
  for (pollfd left{pipe[0], POLLIN, 0}; poll(&left, 1, 0) > 0 && read_some(pipe[0], end.said);) {
  }
  close(pipe[0]);
  if (WIFEXITED(status)) end.code = WEXITSTATUS(status);
  else end.signal = WTERMSIG(status);
  return end;
}

}  // namespace bubblescope
