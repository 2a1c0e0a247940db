// What the processes tell each other while they execute a Program together: messages and their credits, who has come
// to a meeting, when it ends and why.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/channels.hpp"
#include "backend/meetings.hpp"
#include "backend/payload_codec.hpp"
#include "backend/plan.hpp"
#include "backend/run_control.hpp"
#include "backend/world.hpp"

namespace bubblescope {

/// One process's end of it, for one execution. Times cross in process 0's clock.
class Exchange final : public RemoteSides, public RemoteMembers, public RemoteControls {
 public:
  /// All must outlive this. `groups`: as given to the meetings; `ranks`: of all processes together.
  Exchange(World& world, const Plan& plan, std::span<const GroupPlan> groups, std::int32_t ranks, const PayloadCodec& codec);
  ~Exchange() override;

  /// Begins: what came before goes to these, which must outlive this or its `end`. Every process, in the same order.
  void begin(Channels& channels, Meetings& meetings, RunControl& control);
  /// No more is told after this.
  void end();

  bool here(Rank rank) const override { return own_.holds(rank); }
  void accepted(std::int32_t message, std::int64_t walk, const Payload& payload, const Delivery& delivery) override;
  void granted(std::int32_t message, std::int64_t walk, const Turn& turn) override;
  void credited(std::int32_t message, std::int64_t walk, const Turn& credit) override;
  void came(std::int32_t group, std::int64_t walk, Rank rank, const Payload& contribution, Nanos now, SpanRef span) override;
  bool first() const override { return world_.first(); }
  std::int32_t processes() const override { return world_.processes(); }
  void stop_wanted() override;
  void freeze() override;
  void begun(std::int64_t walks) override;
  void end_at(std::int64_t walks) override;
  void failed(const std::string& message) override;
  void attend(int more) override;
  bool poll() override;

 private:
  enum class Says : std::uint8_t;

  std::int32_t process_of(Rank rank) const { return process_of_rank(rank, processes(), ranks_); }
  void send_turn(Says what, Rank to, std::int32_t message, std::int64_t walk, const Turn& turn);
  void send_to_others(const std::string& head);
  void handle(std::int32_t from, std::string_view head, Parcel& parcel);

  World& world_;
  const Plan& plan_;
  std::span<const GroupPlan> groups_;
  const PayloadCodec& codec_;
  std::int32_t ranks_;
  RankRange own_;
  std::vector<Op> collectives_;  ///< by group: the op that contributions are of, as codecs need it (kind and stage)
  Channels* channels_ = nullptr;
  Meetings* meetings_ = nullptr;
  RunControl* control_ = nullptr;
  std::int64_t session_;
  bool open_ = false;
};

}  // namespace bubblescope
