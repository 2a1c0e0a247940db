// Messages that only their receiver's codec looks at.
#include "backend/traffic.hpp"

#include <string>
#include <string_view>
#include <utility>

#include "backend/fields.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {

Traffic::Traffic(World& world, const PayloadCodec& codec, std::int32_t ranks)
    : world_(world), codec_(codec), ranks_(ranks), session_(world.new_session()), under_way_(at(world.processes())), sent_(at(world.processes())) {
  const auto take = [this](std::int32_t, std::string_view head, Parcel& parcel) {
    FieldsIn fields(head);
    const Op op = fields.get<Op>();
    parcel.head = std::string(fields.rest());
    codec_.decode(op, std::move(parcel));  // into memory, as a run would
    received_.fetch_add(1);
  };
  world_.open(session_, take, [] {});
}

Traffic::~Traffic() { world_.close(session_); }

void Traffic::send(const Op& send, const Payload& payload, Rank to) {
  const std::int32_t process = process_of_rank(to, world_.processes(), ranks_);
  if (process == world_.process()) return;
  std::atomic<std::int32_t>& under_way = under_way_[at(process)];
  if (under_way.fetch_add(1) >= kMost) {
    under_way.fetch_sub(1);
    return;
  }
  try {
    Parcel parcel = codec_.encode(send, payload);
    parcel.head.insert(0, FieldsOut().add(send).take());
    world_.send(session_, process, std::move(parcel), [&under_way] { under_way.fetch_sub(1); });
    sent_[at(process)].fetch_add(1);
  } catch (const RunError&) {  // whoever polls finds out what is wrong there
  }
}

void Traffic::settle() {
  const std::vector<std::int64_t> mine(sent_.begin(), sent_.end());
  std::int64_t due = 0;
  for (const std::string& one : world_.gather_all(FieldsOut().add(mine).take())) {
    due += FieldsIn(one).get<std::vector<std::int64_t>>()[at(world_.process())];
  }
  world_.wait([&] { return received_.load() == due; });
  world_.barrier();  // or who is through sends what others would count as come
}

}  // namespace bubblescope
