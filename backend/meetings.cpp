// Meetings: who has come, and what all of them brought.
#include "backend/meetings.hpp"

#include <algorithm>
#include <utility>

namespace bubblescope {

Meetings::Meetings(std::span<const GroupPlan> groups, std::span<Bell> bells) : groups_(groups), bells_(bells), meetings_(groups.size()) {
  for (std::size_t g = 0; g < groups.size(); ++g) meetings_[g].contributions.resize(groups[g].members.size());
}

void Meetings::arrive(std::int32_t group, std::int64_t walk, Rank rank, Payload contribution, Nanos now, SpanRef span) {
  const auto g = static_cast<std::size_t>(group);
  const auto& members = groups_[g].members;
  {
    const std::lock_guard lock(mutex_);
    Meeting& meeting = meetings_[g];
    const auto member = std::lower_bound(members.begin(), members.end(), rank) - members.begin();
    meeting.contributions[static_cast<std::size_t>(member)] = std::move(contribution);
    if (meeting.arrived == 0 || now > meeting.under_way.last) {
      meeting.under_way.last = now;
      meeting.under_way.latest = span;
    }
    if (++meeting.arrived < static_cast<std::int32_t>(members.size())) return;
    meeting.under_way.contributions = std::make_shared<const std::vector<Payload>>(std::exchange(meeting.contributions, std::vector<Payload>(members.size())));
    meeting.result = std::move(meeting.under_way);
    meeting.under_way = {};
    meeting.arrived = meeting.told = 0;
    meeting.completed = walk + 1;
  }
  for (const Rank member : members) bells_[static_cast<std::size_t>(member)].ring();
}

bool Meetings::complete(std::int32_t group, std::int64_t walk, MeetingResult& result) {
  const std::lock_guard lock(mutex_);
  Meeting& meeting = meetings_[static_cast<std::size_t>(group)];
  if (meeting.completed <= walk) return false;
  result = meeting.result;
  if (++meeting.told == static_cast<std::int32_t>(meeting.contributions.size())) meeting.result.contributions.reset();
  return true;
}

}  // namespace bubblescope
