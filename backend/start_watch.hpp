// Looks after the other processes of a job while they start, when they do not know each other yet: of those that the same
// launcher has started on this host the kernel tells which are stopped.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backend/mpi_loader.hpp"

namespace bubblescope {

/// A process that the launcher has started here.
struct Sibling {
  std::int32_t process = 0;  ///< its number in the job
  bool stopped = false;      ///< by a signal such as SIGSTOP; not: by a debugger

  bool operator==(const Sibling&) const = default;
};

/// The processes with this parent whose environment has the variable, in the order of their numbers. Linux' proc(5);
/// where it may not be read there are none.
std::vector<Sibling> siblings(pid_t parent, const std::string& rank_variable);

struct StartWatchOptions {
  std::chrono::milliseconds period{100};
  std::int32_t looks = 50;            ///< stopped in so many of them, one after the other: it will not go on
  std::int32_t looks_until_word = 100; ///< after so many looks `waiting` is called, once
  pid_t parent = 0;                   ///< of all processes of the job on this host; 0: this one's
};

/// A thread, as long as this lives.
class StartWatch {
 public:
  /// `stopped`: is told which process is, in the first one of this host that is not; at most once, from the thread. Whoever starts
  /// hangs in a call of the launcher's, so all that it can do is to end the program.
  /// `waiting`: called once where the start takes long.
  StartWatch(const Launch& launch, std::function<void(std::string why)> stopped, std::function<void()> waiting, StartWatchOptions options = {});
  ~StartWatch();
  StartWatch(const StartWatch&) = delete;
  StartWatch& operator=(const StartWatch&) = delete;

 private:
  void look(const Launch& launch, const StartWatchOptions& options);

  std::function<void(std::string why)> stopped_;
  std::function<void()> waiting_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace bubblescope
