// Channels between ranks: what may be sent when, when it arrives, and who is woken. The rules are those of
// sim/core/constraints.hpp, kept here as a state machine driven by the ranks. Of a channel to or from another process this
// one keeps its own side; the sides tell each other what they need to know.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
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

/// Since when one side of a channel allows something, and the span that it took until then.
struct Turn {
  Nanos since = 0;
  SpanRef span;
};

/// How sides of channels reach the other side in another process, where `Channels` is told the same. Called with the
/// channels locked: must not wait, and must not call back.
class RemoteSides {
 public:
  virtual ~RemoteSides() = default;
  /// Whether a rank is in this process.
  virtual bool here(Rank rank) const = 0;
  /// The sender's side to the receiver's: a message that has been accepted. `Channels::left` follows here.
  virtual void accepted(std::int32_t message, std::int64_t walk, const Payload& payload, const Delivery& delivery) = 0;
  /// The receiver's side to the sender's: the receiver of a rendezvous has its turn.
  virtual void granted(std::int32_t message, std::int64_t walk, const Turn& turn) = 0;
  /// The receiver's side to the sender's: there is room for the message.
  virtual void credited(std::int32_t message, std::int64_t walk, const Turn& credit) = 0;
};

/// All channels of a plan. Every member may be called from any thread; `walk` counts the walks of the
/// rows, so an entry is named by its message and its walk. Nothing here blocks: who has to wait looks
/// again when its bell rings.
class Channels {
 public:
  /// All must outlive this. `bells`: one per rank. `remote`: null where all ranks are in this process.
  Channels(const Plan& plan, std::span<Bell> bells, RemoteSides* remote = nullptr);

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

  /// Tells the other sides who has the first turns; once, when they can be told.
  void begin();
  /// What the other side of a channel has told; times are of this process's clock.
  void accepted(std::int32_t message, std::int64_t walk, Payload payload, const Delivery& delivery, Nanos now);
  void granted(std::int32_t message, std::int64_t walk, const Turn& turn);
  void credited(std::int32_t message, std::int64_t walk, const Turn& credit);
  /// An accepted message to another process needs its channel no longer.
  void left(std::int32_t message, std::int64_t walk, Nanos now);

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
    // Of channels between processes: told to the sender's side, or there, that it was told.
    bool granted = false;
    bool left = false;
    Turn turn;
  };
  /// Entries by their running number on the edge, in a ring that starts at `base`.
  struct Edge {
    std::vector<Entry> ring;
    std::int64_t base = 0;
    std::int64_t end = 0;
    std::map<std::int64_t, Turn> credits;  ///< of a receiver in another process: as far ahead as the channel has room
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
  bool here(Rank rank) const { return remote_ == nullptr || remote_->here(rank); }
  const EdgePlan& plan_of(const Transfer& transfer) const;
  Edge& edge_of(const Transfer& transfer);
  bool receiver_ready(const Transfer& transfer, const Entry* entry, Turn& turn) const;
  void try_grant(const Transfer& transfer);
  void try_accept(const Transfer& transfer, Entry& entry, Rings& rings);
  void try_receive(const Transfer& transfer, Entry& entry, Rings& rings);
  void drop_used(Edge& edge, const EdgePlan& plan);
  void drop_sent(Edge& edge, const EdgePlan& plan, std::int64_t next);

  const Plan& plan_;
  std::span<Bell> bells_;
  RemoteSides* remote_;
  mutable std::mutex mutex_;
  std::vector<Edge> edges_;
  std::vector<Queue> fifos_;
  std::vector<Transfer> work_;  // transfers that may have come on
};

}  // namespace bubblescope
