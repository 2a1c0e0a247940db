// Messages between processes that nobody waits for: ops that are timed beside them share the processor with what moves
// messages, as in a run.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "backend/payload_codec.hpp"
#include "backend/world.hpp"

namespace bubblescope {

/// Every process makes one, in the same order, and each takes in what the others send.
class Traffic {
 public:
  /// A process has at most so many messages to another under way; more than a link can carry would pile up.
  static constexpr std::int32_t kMost = 2;

  /// Both must outlive this. `ranks`: of all processes together.
  Traffic(World& world, const PayloadCodec& codec, std::int32_t ranks);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  /// Sends what `send` sends to `to`, unless that is in this process, there is too much under way, or it cannot be sent:
  /// nobody waits for it. Any thread.
  void send(const Op& send, const Payload& payload, Rank to);
  /// Returns once all that was sent has come, to every process. Collective; throws as a collective of World does.
  void settle();

 private:
  World& world_;
  const PayloadCodec& codec_;
  const std::int32_t ranks_;
  const std::int64_t session_;
  std::vector<std::atomic<std::int32_t>> under_way_;  ///< by process
  std::vector<std::atomic<std::int64_t>> sent_;       ///< by process
  std::atomic<std::int64_t> received_{0};
};

}  // namespace bubblescope
