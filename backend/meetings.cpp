// Meetings: who has come, and what all of them brought.
#include "backend/meetings.hpp"

#include <algorithm>
#include <utility>

namespace bubblescope {

Meetings::Meetings(std::span<const GroupPlan> groups, std::span<Bell> bells, RemoteMembers* remote) : groups_(groups), bells_(bells), remote_(remote), meetings_(groups.size()) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto& members = groups[g].members;
    for (Round& round : meetings_[g].rounds) round.contributions.resize(members.size());
    meetings_[g].here = static_cast<std::int32_t>(std::count_if(members.begin(), members.end(), [remote](Rank rank) { return remote == nullptr || remote->here(rank); }));
  }
}

void Meetings::arrive(std::int32_t group, std::int64_t walk, Rank rank, Payload contribution, Nanos now, SpanRef span) {
  if (remote_ != nullptr) remote_->came(group, walk, rank, contribution, now, span);
  came(group, walk, rank, std::move(contribution), now, span);
}

void Meetings::came(std::int32_t group, std::int64_t walk, Rank rank, Payload contribution, Nanos now, SpanRef span) {
  const auto g = static_cast<std::size_t>(group);
  const auto& members = groups_[g].members;
  {
    const std::lock_guard lock(mutex_);
    Meeting& meeting = meetings_[g];
    Round& round = meeting.rounds[static_cast<std::size_t>(walk % 2)];
    const auto member = std::lower_bound(members.begin(), members.end(), rank) - members.begin();
    round.contributions[static_cast<std::size_t>(member)] = std::move(contribution);
    if (round.arrived == 0 || now > round.result.last) {
      round.result.last = now;
      round.result.latest = span;
    }
    if (++round.arrived < static_cast<std::int32_t>(members.size())) return;
    meeting.result = std::move(round.result);
    meeting.result.contributions = std::make_shared<const std::vector<Payload>>(std::exchange(round.contributions, std::vector<Payload>(members.size())));
    meeting.told = 0;
    meeting.completed = walk + 1;
    round.result = {};
    round.arrived = 0;
  }
  for (const Rank member : members) bells_[static_cast<std::size_t>(member)].ring();
}

bool Meetings::complete(std::int32_t group, std::int64_t walk, MeetingResult& result) {
  const std::lock_guard lock(mutex_);
  Meeting& meeting = meetings_[static_cast<std::size_t>(group)];
  if (meeting.completed <= walk) return false;
  result = meeting.result;
  if (++meeting.told == meeting.here) meeting.result.contributions.reset();
  return true;
}

}  // namespace bubblescope
