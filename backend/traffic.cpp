// Messages that only their receiver's codec looks at.
#include "backend/traffic.hpp"

#include <string>
#include <string_view>
#include <utility>

#include "backend/fields.hpp"

namespace bubblescope {

Traffic::Traffic(World& world, const PayloadCodec& codec, std::int32_t ranks) : world_(world), codec_(codec), ranks_(ranks), session_(world.new_session()) {
  const auto take = [this](std::int32_t, std::string_view head, Parcel& parcel) {
    FieldsIn fields(head);
    const Op op = fields.get<Op>();
    parcel.head = std::string(fields.rest());
    codec_.decode(op, std::move(parcel));  // into memory, as a run would
    received_.fetch_add(1, std::memory_order_relaxed);
  };
  world_.open(session_, take, [] {});
}

Traffic::~Traffic() { world_.close(session_); }

void Traffic::send(const Op& send, const Payload& payload, Rank to) {
  const std::int32_t process = process_of_rank(to, world_.processes(), ranks_);
  if (process == world_.process()) return;
  if (under_way_.fetch_add(1) >= kMost) {
    under_way_.fetch_sub(1);
    return;
  }
  Parcel parcel = codec_.encode(send, payload);
  parcel.head.insert(0, FieldsOut().add(send).take());
  world_.send(session_, process, std::move(parcel), [this] { under_way_.fetch_sub(1); });
}

void Traffic::settle() {
  world_.wait([this] { return under_way_.load() == 0; });
  world_.barrier();  // messages of a process come in order
}

}  // namespace bubblescope
