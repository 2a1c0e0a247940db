// Devices whose work is issued first and done later: lanes that do what they are given in order, and events
// between them. The stream executor (backend/stream_walker.hpp) drives any Program on them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "backend/backend.hpp"
#include "backend/kernels.hpp"
#include "sim/core/time.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {

/// One lane of a rank: a CUDA stream, or a thread that stands in for one.
struct LaneSpec {
  Rank rank = 0;
  StreamKind kind = StreamKind::compute;  ///< what it mostly does; the first lane of a rank computes
};

/// The lanes and events of one run. Lanes are used by their rank's thread only. An event is recorded again only
/// after it has been awaited, and its time read. Nothing blocks but `await`. Failures of the device are thrown as RunError by whatever call notices them.
class Streams {
 public:
  virtual ~Streams() = default;

  /// Gives a lane work, which is done after all that it was given before. Where the work only issues kernels it
  /// is called at once; else when its turn comes, on the lane's own thread. It must not throw.
  virtual void submit(std::int32_t lane, std::function<void()> work) = 0;
  /// The event happens when the lane has done all that it was given so far.
  virtual void record(std::int32_t lane, std::int32_t event) = 0;
  /// What the lane is given from now on waits for the event, whose `record` must have returned.
  virtual void wait(std::int32_t lane, std::int32_t event) = 0;

  /// Blocks the calling thread until an event has happened whose `record` has returned.
  virtual void await(std::int32_t event) = 0;
  /// When an event happened, as the steady clock says. After it was awaited.
  virtual Nanos time(std::int32_t event) const = 0;

  /// All that was given to lanes is done, and times will be asked for.
  virtual void all_done() {}

  /// What the receiver of a message gets. Part of the send's work on a lane of rank `from`.
  virtual Payload carry(Payload payload, Rank from, Rank to) {
    (void)from;
    (void)to;
    return payload;
  }
  /// Whether issuing takes time that a timeline should show.
  virtual bool host_counts() const { return false; }
};

/// Made by backends whose devices issue their work.
class StreamSource {
 public:
  virtual ~StreamSource() = default;
  /// Lanes and so many events for a run on devices of this backend.
  virtual std::unique_ptr<Streams> streams(std::span<const LaneSpec> lanes, std::size_t events) = 0;
  /// Records kernels from now on; null: these devices cannot.
  virtual std::unique_ptr<KernelActivity> kernel_activity() { return nullptr; }
};

}  // namespace bubblescope
