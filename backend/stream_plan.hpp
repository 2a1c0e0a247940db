// What a run on streams needs to know beforehand: which lane does which op, and what every op waits for, as
// events. It is the constraint graph of the whole run, the one that simulation walks, in terms of lanes.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backend/plan.hpp"
#include "backend/streams.hpp"
#include "sim/core/constraints.hpp"
#include "sim/core/program.hpp"

namespace bubblescope {

/// Lists of numbers by op, one after another.
template <class T>
class ByOp {
 public:
  void add(T value) { values_.push_back(std::move(value)); }
  void next() { first_.push_back(values_.size()); }
  std::span<const T> of(OpIndex op) const {
    const auto i = static_cast<std::size_t>(op);
    return {values_.data() + first_[i], values_.data() + first_[i + 1]};
  }

 private:
  std::vector<std::size_t> first_{0};
  std::vector<T> values_;
};

/// An event of another op.
struct StreamWait {
  OpIndex source = -1;  ///< an op that has events of its own
  bool from_start = false;
};

/// A rank's share in the order of its row.
struct StreamLane {
  LaneSpec spec;
  std::vector<OpIndex> ops;
};

/// Of `program` with all the iterations of a run and with sends and receives. Ops are numbered flat.
struct StreamPlan {
  StreamPlan(const Program& program, std::span<const std::int64_t> output_bytes);
  StreamPlan(const StreamPlan&) = delete;  // `step` points into it
  StreamPlan& operator=(const StreamPlan&) = delete;

  /// A receive that nobody's turn decides about happens when its send ends; it has no lane and no events.
  bool follows_send(OpIndex op) const { return lane[static_cast<std::size_t>(op)] < 0; }
  std::int32_t start_event(OpIndex op) const { return 2 * op; }
  std::int32_t end_event(OpIndex op) const { return 2 * op + 1; }
  /// Of a member of a group: its turn has come. -1 for other ops.
  std::int32_t arrival_event(OpIndex op) const { return arrival[static_cast<std::size_t>(op)]; }
  std::size_t events() const { return event_count; }
  /// The op whose end is the receive's, where it follows its send; else the op.
  OpIndex with_events(OpIndex op) const { return follows_send(op) ? sends_to[static_cast<std::size_t>(op)] : op; }

  ConstraintGraph graph;
  Plan plan;
  std::vector<Rank> rank;                ///< by op
  std::vector<StreamLane> lanes;
  std::vector<std::vector<std::int32_t>> lanes_of;  ///< by rank; the first one computes
  std::vector<std::int32_t> lane;        ///< by op
  std::vector<std::int32_t> arrival;     ///< by op
  std::vector<OpIndex> sends_to;         ///< receive -> its send, else -1
  std::vector<std::int32_t> message;     ///< send -> Plan::messages, else -1
  std::vector<OpIndex> send_of;          ///< by message
  std::vector<OpIndex> taken_by;         ///< by message
  std::vector<const Step*> step;         ///< by op; null for posted receives
  ByOp<StreamWait> waits;                ///< on other lanes
  ByOp<std::int32_t> gives;              ///< messages whose payload is taken from the device once the op is done
  ByOp<Rank> listeners;                  ///< other ranks with ops that wait for it
  std::size_t event_count = 0;
};

}  // namespace bubblescope
