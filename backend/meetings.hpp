// Meetings of ranks: barriers at which every member sees what all of them contributed.
#pragma once

#include <array>
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

/// How members of a meeting in other processes are told that one here has come, where `Meetings::came` is told
/// the same. Called with nothing locked; must not wait.
class RemoteMembers {
 public:
  virtual ~RemoteMembers() = default;
  virtual bool here(Rank rank) const = 0;
  virtual void came(std::int32_t group, std::int64_t walk, Rank rank, const Payload& contribution, Nanos now, SpanRef span) = 0;
};

/// All meetings of a plan; each takes place once per walk of the rows. A member looks at the result
/// before it comes to the next one; others may be there already. Does not block.
class Meetings {
 public:
  /// All must outlive this. `bells`: one per rank. `remote`: null where all ranks are in this process.
  Meetings(std::span<const GroupPlan> groups, std::span<Bell> bells, RemoteMembers* remote = nullptr);

  /// A rank of this process has come.
  void arrive(std::int32_t group, std::int64_t walk, Rank rank, Payload contribution, Nanos now, SpanRef span);
  /// Whether all members have come; then `result` holds how it went. Every member asks until it is so and
  /// not again: contributions are let go of when the last of them has been told.
  bool complete(std::int32_t group, std::int64_t walk, MeetingResult& result);
  /// A rank of another process has come. It may be a walk ahead of the members here.
  void came(std::int32_t group, std::int64_t walk, Rank rank, Payload contribution, Nanos now, SpanRef span);

 private:
  struct Round {
    std::int32_t arrived = 0;
    std::vector<Payload> contributions;  ///< by member
    MeetingResult result;
  };
  struct Meeting {
    std::int64_t completed = 0;  ///< walks whose meeting is over
    std::int32_t here = 0;       ///< members of this process
    std::int32_t told = 0;       ///< of them, those that know the result
    std::array<Round, 2> rounds;  ///< of even and odd walks: a third cannot begin before the first is over
    MeetingResult result;  ///< of the last one; the next cannot end before all have seen it
  };

  std::span<const GroupPlan> groups_;
  std::span<Bell> bells_;
  RemoteMembers* remote_;
  std::mutex mutex_;
  std::vector<Meeting> meetings_;
};

}  // namespace bubblescope
