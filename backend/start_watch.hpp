// Looks after the other processes of a job while they start, when they do not know each other yet: of those that the same
// launcher has started on this host the kernel tells which are stopped.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
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

/// What tells one job of a launcher from another: variables of the environment, as they are in this process; not set: nullopt.
using JobMarks = std::map<std::string, std::optional<std::string>>;
/// Not to be called while another thread, such as MPI's, may change the environment.
JobMarks job_marks();

/// The children of `parent` that have a number of their own in this environment variable, and these marks; by number.
/// Linux' proc(5); where it does not say there are none.
std::vector<Sibling> siblings(pid_t parent, const std::string& rank_variable, const JobMarks& marks);

/// Finds out who will not go on. Counted are looks, not time: where all are stopped together (Ctrl-Z at the launcher) nobody
/// looks, and nobody is lost when they go on.
class StopCounter {
 public:
  /// Who is stopped in so many looks, one after the other, will not.
  explicit StopCounter(std::int32_t looks) : looks_(looks) {}
  /// The next look; the first who will not go on, if there is one.
  std::optional<std::int32_t> look(const std::vector<Sibling>& all);

 private:
  std::int32_t looks_;
  std::map<std::int32_t, std::int32_t> stopped_;  ///< process -> looks
};

struct StartWatchOptions {
  std::chrono::milliseconds period{500};
  std::int32_t looks = 10;             ///< for the StopCounter
  std::int32_t looks_until_word = 20;  ///< after so many looks the start takes long
  pid_t parent = 0;                    ///< of all processes of the job on this host; 0: this one's
};

/// A thread, as long as this lives. Of a host's processes the first one that is not stopped speaks for all.
class StartWatch {
 public:
  /// `stopped`: told once which process is. Whoever starts hangs in a call of the launcher's or MPI's, so all that it can do
  /// is to end the program. `waiting`: called once where the start takes long. Both from the thread; they must not throw.
  StartWatch(const Launch& launch, std::function<void(const std::string& why)> stopped, std::function<void()> waiting, StartWatchOptions options = {});
  ~StartWatch();
  StartWatch(const StartWatch&) = delete;
  StartWatch& operator=(const StartWatch&) = delete;

 private:
  void look(const Launch& launch, const JobMarks& marks, const StartWatchOptions& options);

  std::function<void(const std::string& why)> stopped_;
  std::function<void()> waiting_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace bubblescope
