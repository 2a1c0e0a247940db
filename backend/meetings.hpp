// Meetings of ranks of one process: barriers at which every member sees what all of them contributed.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "backend/channels.hpp"
#include "backend/clock.hpp"
#include "backend/plan.hpp"

namespace bubblescope {

/// How a meeting ended.
struct MeetingResult {
  /// In rank order, each member's own. Null where every member has it already.
  std::shared_ptr<const std::vector<Payload>> contributions;
  Nanos last = 0;    ///< when the last member came
  SpanRef latest;    ///< ... and its span
};

/// All meetings of a plan; each takes place once per walk of the rows. A member looks at the result
/// before it comes to the next one; others may be there already. Does not block.
class Meetings {
 public:
  /// Both must outlive this. `bells`: one per rank.
  Meetings(std::span<const GroupPlan> groups, std::span<Bell> bells);

  void arrive(std::int32_t group, std::int64_t walk, Rank rank, Payload contribution, Nanos now, SpanRef span);
  /// Whether all members have come; then `result` holds how it went. Every member asks until it is so and
  /// not again: contributions are let go of when the last of them has been told.
  bool complete(std::int32_t group, std::int64_t walk, MeetingResult& result);

 private:
  struct Meeting {
    std::int64_t completed = 0;  ///< walks whose meeting is over
    std::int32_t arrived = 0;
    std::int32_t told = 0;               ///< members that know the result
    std::vector<Payload> contributions;  ///< by member
    MeetingResult under_way;
    MeetingResult result;  ///< of the last one; the next cannot end before all have seen it
  };

  std::span<const GroupPlan> groups_;
  std::span<Bell> bells_;
  std::mutex mutex_;
  std::vector<Meeting> meetings_;
};

}  // namespace bubblescope
