// Parcels of one execution, to other processes and from them.
#include "backend/exchange.hpp"

#include <fmt/format.h>

#include <exception>
#include <optional>
#include <utility>

#include "backend/fields.hpp"
#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

/// A span's number on its rank is as good elsewhere as there.
struct PlacedTurn {
  std::int32_t message = -1;
  std::int64_t walk = 0;
  Turn turn;
};

std::vector<Op> collectives_of(const Plan& plan, std::size_t groups) {
  std::vector<Op> ops(groups);
  for (const auto& steps : plan.ranks) {
    for (const Step& step : steps) {
      if (step.group >= 0) ops[at(step.group)] = step.op;
    }
  }
  return ops;
}

}  // namespace

/// What a parcel says; the first byte of its head.
enum class Exchange::Says : std::uint8_t { accepted, granted, credited, came, stop_wanted, freeze, begun, end_at, failed };

Exchange::Exchange(World& world, const Plan& plan, std::span<const GroupPlan> groups, std::int32_t ranks, const PayloadCodec& codec)
    : world_(world), plan_(plan), groups_(groups), codec_(codec), ranks_(ranks), own_(ranks_of_process(world.process(), world.processes(), ranks)),
      collectives_(collectives_of(plan, groups.size())), session_(world.new_session()) {}

Exchange::~Exchange() { end(); }

void Exchange::begin(Channels& channels, Meetings& meetings, RunControl& control) {
  channels_ = &channels;
  meetings_ = &meetings;
  control_ = &control;
  open_ = true;
  world_.open(
      session_, [this](std::int32_t from, std::string_view head, Parcel& parcel) { handle(from, head, parcel); },
      [this] { control_->told_failure(world_.why_lost()); });
  channels.begin();
}

void Exchange::end() {
  if (std::exchange(open_, false)) world_.close(session_);
}

void Exchange::accepted(std::int32_t message, std::int64_t walk, const Payload& payload, const Delivery& delivery) {
  const Message& what = plan_.messages[at(message)];
  Parcel parcel = codec_.encode(what.send, payload);
  Delivery told = delivery;
  for (Nanos* time : {&told.offered, &told.start, &told.available}) *time = world_.to_common(*time);
  parcel.head.insert(0, FieldsOut().add(Says::accepted).add(message).add(walk).add(told).take());
  world_.send(session_, process_of(plan_.edges[at(what.edge)].to), std::move(parcel),
              [this, message, walk] { channels_->left(message, walk, steady_now()); });
}

void Exchange::send_turn(Says what, Rank to, std::int32_t message, std::int64_t walk, const Turn& turn) {
  const PlacedTurn placed{message, walk, {world_.to_common(turn.since), turn.span}};
  world_.send(session_, process_of(to), FieldsOut().add(what).add(placed).take());
}

void Exchange::granted(std::int32_t message, std::int64_t walk, const Turn& turn) {
  send_turn(Says::granted, plan_.edges[at(plan_.messages[at(message)].edge)].from, message, walk, turn);
}

void Exchange::credited(std::int32_t message, std::int64_t walk, const Turn& credit) {
  send_turn(Says::credited, plan_.edges[at(plan_.messages[at(message)].edge)].from, message, walk, credit);
}

void Exchange::came(std::int32_t group, std::int64_t walk, Rank rank, const Payload& contribution, Nanos now, SpanRef span) {
  std::vector<bool> told(at(processes()), false);
  told[at(world_.process())] = true;
  std::optional<Parcel> encoded;  // once for all of them, who share the body
  for (const Rank member : groups_[at(group)].members) {
    const std::int32_t to = process_of(member);
    if (told[at(to)]) continue;
    told[at(to)] = true;
    if (!encoded) encoded = codec_.encode(collectives_[at(group)], contribution);
    Parcel parcel = *encoded;
    parcel.head.insert(0, FieldsOut().add(Says::came).add(group).add(walk).add(rank).add(world_.to_common(now)).add(span).take());
    world_.send(session_, to, std::move(parcel));
  }
}

/// Whom it can be sent to, even where it cannot to another one; then throws that.
void Exchange::send_to_others(const std::string& head) {
  std::exception_ptr failure;
  for (std::int32_t p = 0; p < processes(); ++p) {
    if (p == world_.process()) continue;
    try {
      world_.send(session_, p, head);
    } catch (const std::exception&) {
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void Exchange::stop_wanted() { world_.send(session_, 0, FieldsOut().add(Says::stop_wanted).take()); }
void Exchange::freeze() { send_to_others(FieldsOut().add(Says::freeze).take()); }
void Exchange::begun(std::int64_t walks) { world_.send(session_, 0, FieldsOut().add(Says::begun).add(walks).take()); }
void Exchange::end_at(std::int64_t walks) { send_to_others(FieldsOut().add(Says::end_at).add(walks).take()); }

void Exchange::failed(const std::string& message) {
  constexpr std::size_t kMost = 2048;  // what fits into a head; the whole text is exchanged at the end
  if (!world_.lost()) send_to_others(FieldsOut().add(Says::failed).add(message.substr(0, kMost)).take());
}

void Exchange::attend(int more) { world_.attend(more); }
bool Exchange::poll() { return world_.poll(); }

void Exchange::handle(std::int32_t from, std::string_view head, Parcel& parcel) {
  const Nanos now = steady_now();
  FieldsIn fields(head);
  switch (fields.get<Says>()) {
    case Says::accepted: {
      const auto message = fields.get<std::int32_t>();
      const auto walk = fields.get<std::int64_t>();
      auto delivery = fields.get<Delivery>();
      for (Nanos* time : {&delivery.offered, &delivery.start, &delivery.available}) *time = world_.to_own(*time);
      parcel.head = fields.rest();
      channels_->accepted(message, walk, codec_.decode(plan_.messages[at(message)].send, std::move(parcel)), delivery, now);
      return;
    }
    case Says::granted:
    case Says::credited: {
      const auto placed = fields.get<PlacedTurn>();
      const Turn turn{world_.to_own(placed.turn.since), placed.turn.span};
      if (static_cast<Says>(head.front()) == Says::granted) {
        channels_->granted(placed.message, placed.walk, turn);
      } else {
        channels_->credited(placed.message, placed.walk, turn);
      }
      return;
    }
    case Says::came: {
      const auto group = fields.get<std::int32_t>();
      const auto walk = fields.get<std::int64_t>();
      const auto rank = fields.get<Rank>();
      const Nanos time = world_.to_own(fields.get<Nanos>());
      const auto span = fields.get<SpanRef>();
      parcel.head = fields.rest();
      meetings_->came(group, walk, rank, codec_.decode(collectives_[at(group)], std::move(parcel)), time, span);
      return;
    }
    case Says::stop_wanted: return control_->told_stop_wanted();
    case Says::freeze: return control_->told_freeze();
    case Says::begun: return control_->told_begun(fields.get<std::int64_t>());
    case Says::end_at: return control_->told_end_at(fields.get<std::int64_t>());
    case Says::failed: return control_->told_failure(fields.get<std::string>());
  }
  throw RunError(fmt::format("process {} says something of a kind that is not known; do all processes run the same build?", from));
}

}  // namespace bubblescope
