// Messages between processes that nobody waits for: ops that are timed beside them share the processor with what moves
// messages, as in a run.
#pragma once

#include <atomic>
#include <cstdint>

#include "backend/payload_codec.hpp"
#include "backend/world.hpp"

namespace bubblescope {

/// Every process makes one, in the same order, and each takes in what the others send.
class Traffic {
 public:
  /// A process has at most so many messages under way; more than a link can carry would pile up.
  static constexpr std::int32_t kMost = 2;

  /// Both must outlive this. `ranks`: of all processes together.
  Traffic(World& world, const PayloadCodec& codec, std::int32_t ranks);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  /// Sends what `send` sends to `to`, unless that is in this process or there is too much under way. Any thread. Throws as
  /// World::send does.
  void send(const Op& send, const Payload& payload, Rank to);
  /// Returns once nothing is under way any more. Collective; throws as a collective of World does.
  void settle();
  /// Messages that came so far.
  std::int64_t received() const { return received_.load(std::memory_order_relaxed); }

 private:
  World& world_;
  const PayloadCodec& codec_;
  const std::int32_t ranks_;
  const std::int64_t session_;
  std::atomic<std::int32_t> under_way_{0};
  std::atomic<std::int64_t> received_{0};
};

}  // namespace bubblescope
