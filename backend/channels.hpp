// Channels between the ranks of one process: what may be sent when, when it arrives, and who is woken.
// The rules are those of sim/core/constraints.hpp, kept here as a state machine driven by the ranks.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <mutex>
#include <span>
#include <vector>

#include "backend/backend.hpp"
#include "backend/clock.hpp"
#include "backend/plan.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {

/// A span of a rank that is being recorded: its number in that rank's own record; -1 where it is not.
struct SpanRef {
  Rank rank = -1;
  std::int32_t index = -1;
};

/// How a message came over. Times are of the steady clock.
struct Delivery {
  bool accepted = false;   ///< the rest is only known then
  bool received = false;   ///< its data is there at `available` (which may still lie ahead)
  Nanos offered = 0;
  Nanos start = 0;         ///< accepted: the transfer starts
  Nanos available = 0;
  Nanos wire = 0;          ///< time on the wire
  Nanos taken = 0;         ///< the op that uses it starts; filled in by the receiver
  std::int64_t bytes = 0;
  Wait wait = Wait::data;  ///< why it was accepted no earlier
  SpanRef waited_for;      ///< ... and the span that was waited for; of `data`: none
  SpanRef send;            ///< the sender's span
};

/// All channels of a plan. Every member may be called from any thread; `walk` counts the walks of the
/// rows, so an entry is named by its message and its walk. Nothing here blocks: who has to wait looks
/// again when its bell rings.
class Channels {
 public:
  /// Both must outlive this. `bells`: one per rank.
  Channels(const Plan& plan, std::span<Bell> bells);

  /// The sender has the data of a message.
  void offer(std::int32_t message, std::int64_t walk, Payload payload, Nanos now, SpanRef send);
  /// The receiver has come to a receive at use.
  void arrive(std::int32_t message, std::int64_t walk, Nanos now, SpanRef recv);
  /// Of an entry that has been taken only that much may be known.
  Delivery delivery(std::int32_t message, std::int64_t walk);
  /// The op that uses a received message starts: hands the payload over and gives credit back.
  Payload take(std::int32_t message, std::int64_t walk, Nanos now, SpanRef consumer);
  /// The rank will not begin walk number `walks`: its FIFOs let pass what would be of it.
  void finish(Rank rank, std::int64_t walks);

 private:
  struct Entry {
    Payload payload;
    Delivery state;
    bool offered = false;
    bool arrived = false;
    bool consumed = false;
    Nanos arrived_at = 0;
    Nanos consumed_at = 0;
    SpanRef recv;
    SpanRef consumer;
  };
  /// Entries by their running number on the edge, in a ring that starts at `base`.
  struct Edge {
    std::vector<Entry> ring;
    std::int64_t base = 0;
    std::int64_t end = 0;
  };
  struct Queue {
    std::int64_t head = 0;  ///< entries that have passed, walk after walk
    Nanos free = 0;         ///< when the last of them had
    std::int64_t walks = std::numeric_limits<std::int64_t>::max();  ///< how many there will be
    SpanRef last;
  };
  struct Transfer {
    std::int32_t message;
    std::int64_t walk;
  };

  /// Ranks whose bells ring when it goes: after the lock, so that who wakes up does not stand at it.
  class Rings {
   public:
    explicit Rings(std::span<Bell> bells) : bells_(bells) {}
    ~Rings();
    Rings(const Rings&) = delete;
    Rings& operator=(const Rings&) = delete;
    void add(Rank rank);

   private:
    std::span<Bell> bells_;
    std::array<Rank, 8> ranks_{};
    std::size_t count_ = 0;
  };

  std::int64_t number(const Transfer& transfer) const;
  Entry& entry(Edge& edge, std::int64_t number);
  Entry* find(Edge& edge, std::int64_t number);
  Transfer head_of(std::int32_t fifo) const;
  void skip(std::int32_t fifo);
  bool at_head(std::int32_t fifo, const Transfer& transfer, bool send) const;
  void pass(std::int32_t fifo, Nanos free, SpanRef last);
  void advance(Rings& rings);
  void try_accept(const Transfer& transfer, Entry& entry, Rings& rings);
  void try_receive(const Transfer& transfer, Entry& entry, Rings& rings);
  void drop_used(Edge& edge, std::int32_t capacity);

  const Plan& plan_;
  std::span<Bell> bells_;
  mutable std::mutex mutex_;
  std::vector<Edge> edges_;
  std::vector<Queue> fifos_;
  std::vector<Transfer> work_;  // transfers that may have come on
};

}  // namespace bubblescope
