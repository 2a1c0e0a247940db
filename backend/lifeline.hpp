// A failure detector by heartbeats: notices within seconds when a process of a job is killed or stopped, and tells all others
// which, where, and what it did last. It has its own connections and its own thread: what the rest of the process or MPI does
// is of no matter.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace bubblescope {

struct LifelineOptions {
  std::chrono::milliseconds period{50};               ///< of the signs of life (heartbeats)
  std::chrono::milliseconds silence{5'000};           ///< without one for so long, a process counts as lost
  std::chrono::milliseconds connect_timeout{20'000};  ///< until all processes are connected
};

/// A star of TCP connections around process 0, and a thread. A process that is killed is noticed at once, for its host
/// closes the connection; one that is stopped, or whose host hangs, after `silence`. The others are told
/// `NAME was killed or has ended; STATE` or `NAME has not answered for 5 s (stopped, or its host hangs); STATE`.
class Lifeline {
 public:
  /// Process 0's value, everywhere; every process calls it once.
  using Broadcast = std::function<std::string(std::string mine)>;
  using Lost = std::function<void(std::string why)>;
  using State = std::function<std::string()>;

  /// Collective: returns once this process is connected, at process 0 once all are. Throws RunError, which names what
  /// was tried or who is missing, after the connect timeout.
  /// `name`: what this process is called in texts, such as `process 3 (host b, ranks 6 to 7)`.
  /// `lost`: called at most once, from the lifeline's thread, perhaps before this has returned, and not after `leave`
  /// has; by then process 0 has told all others. It may call `leave`, but must not destroy the lifeline, nor wait for
  /// long.
  Lifeline(std::int32_t process, std::int32_t processes, std::string name, const Broadcast& broadcast, Lost lost, LifelineOptions options = {});
  /// Leaves. Takes no longer than two seconds, unless a callback does.
  ~Lifeline();
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  /// Where to ask what this process does, such as `rank 2 was in op 5 (3F2), iteration 7`: the lifeline's thread does
  /// so every period, so it must not wait, nor throw. After this has returned nobody asks the one before. Null: nothing to say.
  void set_state_source(State state);

  /// Says goodbye: from now on the others do not mind that this process is gone. Where process 0 leaves, nobody watches
  /// over those that stay. Does nothing once a process is lost or it has left.
  void leave();
  /// Leaves because of an error: the others are lost with `NAME ended early: why`. `refused`: its input was wrong.
  void leave(std::string why, bool refused = false);
  /// Once a process is lost: whether it left because its input was wrong.
  bool refused() const;

 private:
  class Line;
  std::unique_ptr<Line> line_;  ///< null: no other processes
};

}  // namespace bubblescope
