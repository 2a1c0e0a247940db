// Beginning together and ending together.
#include "backend/overlap.hpp"

#include <algorithm>
#include <exception>

#include "backend/fields.hpp"

namespace bubblescope {

Overlap::Overlap(World* world, std::int32_t here, std::int32_t processes)
    : world_(world), takes_part_(here > 0), waiting_(here), working_(here), others_(processes - (here > 0 ? 1 : 0)) {
  if (world_ == nullptr) return;
  session_ = world_->new_session();
  world_->open(session_, [this](std::int32_t, std::string_view, Parcel&) { --others_; }, [] {});
  world_->barrier();
}

Overlap::~Overlap() {
  if (world_ != nullptr) world_->close(session_);
}

Overlap::Member::Member(Overlap& overlap) : overlap_(overlap) {
  if (overlap_.waiting_.fetch_sub(1) == 1) {
    overlap_.waiting_.notify_all();
  } else {
    for (std::int32_t left = overlap_.waiting_.load(); left > 0; left = overlap_.waiting_.load()) overlap_.waiting_.wait(left);
  }
  const Nanos now = steady_now();
  for (Nanos known = overlap_.begun_.load(); known < now && !overlap_.begun_.compare_exchange_weak(known, now);) {
  }
}

void Overlap::Member::done() {
  if (done_) return;
  done_ = true;
  if (overlap_.working_.fetch_sub(1) != 1) return;
  overlap_.ended_ = steady_now();
  World* const world = overlap_.world_;
  if (world == nullptr || world->lost()) return;
  try {
    for (std::int32_t p = 0; p < world->processes(); ++p) {
      if (p != world->process()) world->send(overlap_.session_, p, "done");
    }
  } catch (const std::exception& error) {
    world->lose(error.what());  // the others would work for ever
  }
}

bool Overlap::goes_on() const {
  if (working_ > 0) return true;
  if (world_ == nullptr || others_ <= 0) return false;
  world_->poll();
  return others_ > 0;
}

std::pair<Nanos, Nanos> Overlap::times() const {
  Nanos from = begun_, to = ended_;
  if (world_ == nullptr) return {from, to};
  struct Times {
    bool takes_part;
    Nanos from, to;
  };
  const Times mine{takes_part_, takes_part_ ? world_->to_common(from) : 0, takes_part_ ? world_->to_common(to) : 0};
  from = std::numeric_limits<Nanos>::min(), to = from;
  // Everybody worked until the last one's part was done.
  for (const std::string& one : world_->gather_all(FieldsOut().add(mine).take())) {
    const auto theirs = FieldsIn(one).get<Times>();
    if (!theirs.takes_part) continue;
    from = std::max(from, theirs.from);
    to = std::max(to, theirs.to);
  }
  return {world_->to_own(from), world_->to_own(to)};
}

}  // namespace bubblescope
