// Barriers between ranks of one process, each with a sum over its members in rank order.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "backend/channels.hpp"
#include "backend/clock.hpp"
#include "backend/plan.hpp"

namespace bubblescope {

/// How a meeting ended.
struct MeetingResult {
  double total = 0;  ///< the members' contributions, added up in rank order
  Nanos last = 0;    ///< when the last member came
  SpanRef latest;    ///< ... and its span
};

/// All meetings of a plan; each takes place once per walk of the rows. A member looks at the result
/// before it comes to the next one; others may be there already. Does not block.
class Meetings {
 public:
  /// Both must outlive this. `bells`: one per rank.
  Meetings(std::span<const GroupPlan> groups, std::span<Bell> bells);

  void arrive(std::int32_t group, std::int64_t walk, Rank rank, double contribution, Nanos now, SpanRef span);
  /// Whether all members have come; then `result` holds how it went.
  bool complete(std::int32_t group, std::int64_t walk, MeetingResult& result) const;

 private:
  struct Meeting {
    std::int64_t completed = 0;  ///< walks whose meeting is over
    std::int32_t arrived = 0;
    std::vector<double> contributions;  ///< by member
    MeetingResult under_way;
    MeetingResult result;  ///< of the last one; the next cannot end before all have seen it
  };

  std::span<const GroupPlan> groups_;
  std::span<Bell> bells_;
  mutable std::mutex mutex_;
  std::vector<Meeting> meetings_;
};

}  // namespace bubblescope
