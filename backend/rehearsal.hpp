// A rehearsal: one rank's row without the other ranks, on example inputs, timed op by op.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.hpp"
#include "backend/streams.hpp"
#include "sim/core/program.hpp"

namespace bubblescope {

/// One timed op; times of the steady clock.
struct Sample {
  Stage stage = 0;
  Kind kind = Kind::F;
  Nanos start = 0;
  Nanos end = 0;
  Nanos host = 0;  ///< that issuing it took, with room for it on the device
  std::int32_t walk = 0;  ///< in which it was
};

/// What a rank does in a walk of its row when nobody else is there, on one lane. Not to be moved or destroyed while
/// a walk is under way.
class Rehearsal {
 public:
  /// Called with what a send would send, and to which rank.
  using Sent = std::function<void(const Op& send, const Payload& payload, Rank to)>;

  /// Where the program has no sends and receives, they are put where its dependencies need them.
  Rehearsal(const Program& program, Rank rank);

  /// Events that `walk` uses: two for every op, for the walk that is issued and the one before.
  std::size_t events() const { return 4 * steps_.size(); }
  std::size_t ops() const { return steps_.size(); }
  /// Sizes of the messages that it uses, each once. On the rank's own thread.
  std::vector<std::int64_t> message_bytes(Device& device) const;
  /// Gives `lane` a walk of the row on `device`, with the next iteration number, once the walk before the last is
  /// done; returns the number of its first event (an op has two, the second when it has ended), which is not below
  /// `first_event`. Appends the samples of the walk before the last. `sent` may be null; it must outlive the walk. Throws
  /// RunError naming the op that failed.
  std::int32_t walk(Device& device, Streams& streams, std::int32_t lane, std::int32_t first_event, std::vector<Sample>& samples, const Sent* sent = nullptr);
  /// The op that `walk` issued last, as a cell; empty while there is no walk. Any thread may ask.
  std::string place() const;
  /// Waits for the walks under way and appends their samples.
  void finish(Streams& streams, std::vector<Sample>& samples);

 private:
  struct Step {
    Op op;
    std::vector<Op> inputs{};  ///< receives whose payloads it uses
    std::size_t copies = 1;  ///< ALLREDUCE: of its stage; the others contribute what this rank does
    Rank to = -1;            ///< of a send
  };
  /// Returns the host's time for issuing the op itself.
  Nanos issue(const Step& step, Device& device, Streams& streams, std::int32_t lane, std::int32_t event, const Sent* sent);
  void run(const Step& step, Device& device, std::vector<std::pair<Op, Payload>>& inputs, std::int32_t walk, const Sent* sent);
  /// Does the work unless some before it failed.
  template <class Work>
  void attempt(const Step& step, Work work);
  void collect(Streams& streams, std::vector<Sample>& samples);
  Op numbered(Op op, std::int32_t walk) const {
    op.iteration += walk * iterations_;
    return op;
  }

  std::vector<Step> steps_;
  std::int32_t iterations_ = 1;
  std::int32_t issued_ = 0;      ///< walks so far
  struct Walk {
    std::int32_t number = 0;
    std::int32_t first_event = 0;
    std::vector<Nanos> host;  ///< by step: that issuing it took
  };
  std::deque<Walk> under_way_;
  std::atomic<std::int32_t> step_{-1};  ///< issued last
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;   ///< of the work of the lane, once `failed_`
};

}  // namespace bubblescope
