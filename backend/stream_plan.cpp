// From the constraint graph to lanes and waits.
#include "backend/stream_plan.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "sim/core/dependencies.hpp"
#include "sim/core/index.hpp"
#include "sim/core/op_table.hpp"

namespace bubblescope {
namespace {

/// Sends that stand in no FIFO take turns on so many lanes of their rank.
constexpr std::int32_t kFreeLanes = 4;

StreamKind lane_kind(const Op& op) { return is_p2p(op.kind) ? StreamKind::communication : stream_of(op.kind); }

class StreamPlanner {
 public:
  StreamPlanner(const Program& program, StreamPlan& plan) : program_(program), plan_(plan), dependencies_(derive_dependencies(program)) {}

  void fill() {
    number_ops();
    make_lanes();
    match_messages();
    number_arrivals();
    find_waits();
    find_gives();
    find_listeners();
  }

 private:
  std::size_t count() const { return plan_.graph.op_count(); }
  const Op& op_at(OpIndex op) const { return program_.rows[at(plan_.rank[at(op)])][at(op - plan_.graph.offsets[at(plan_.rank[at(op)])])]; }

  void number_ops() {
    for (Rank r = 0; r < program_.ranks(); ++r) plan_.rank.insert(plan_.rank.end(), program_.rows[at(r)].size(), r);
    plan_.step.assign(count(), nullptr);
    for (Rank r = 0; r < program_.ranks(); ++r) {
      for (const Step& step : plan_.plan.ranks[at(r)]) plan_.step[at(plan_.graph.offsets[at(r)] + step.position)] = &step;
    }
  }

  std::int32_t add_lane(Rank rank, StreamKind kind) {
    plan_.lanes.push_back({{rank, kind}, {}});
    plan_.lanes_of[at(rank)].push_back(static_cast<std::int32_t>(plan_.lanes.size()) - 1);
    return static_cast<std::int32_t>(plan_.lanes.size()) - 1;
  }

  void make_lanes() {
    plan_.lanes_of.resize(program_.rows.size());
    std::vector<std::int32_t> of_sequence(at(plan_.graph.sequences()), -1);
    for (Rank r = 0; r < program_.ranks(); ++r) of_sequence[at(r)] = add_lane(r, StreamKind::compute);
    std::map<std::pair<Rank, std::int32_t>, std::int32_t> free;
    std::vector<std::int32_t> taken(program_.rows.size(), 0);
    plan_.lane.assign(count(), -1);
    for (OpIndex op = 0; op < static_cast<OpIndex>(count()); ++op) {
      const Rank rank = plan_.rank[at(op)];
      const std::int32_t sequence = plan_.graph.sequence[at(op)];
      std::int32_t& lane = plan_.lane[at(op)];
      if (sequence >= 0) {
        if (of_sequence[at(sequence)] < 0) of_sequence[at(sequence)] = add_lane(rank, lane_kind(op_at(op)));
        lane = of_sequence[at(sequence)];
        plan_.lanes[at(lane)].ops.push_back(op);
      } else if (is_send(op_at(op).kind)) {
        const std::int32_t turn = taken[at(rank)]++ % kFreeLanes;
        const auto [found, is_new] = free.try_emplace({rank, turn}, -1);
        if (is_new) found->second = add_lane(rank, StreamKind::communication);
        lane = found->second;
      }
    }
  }

  void match_messages() {
    plan_.sends_to.assign(count(), -1);
    plan_.message.assign(count(), -1);
    plan_.send_of.assign(plan_.plan.messages.size(), -1);
    plan_.taken_by.assign(plan_.plan.messages.size(), -1);
    for (OpIndex op = 0; op < static_cast<OpIndex>(count()); ++op) {
      const Op& what = op_at(op);
      if (is_send(what.kind)) {
        plan_.message[at(op)] = plan_.step[at(op)]->message;
        plan_.send_of[at(plan_.message[at(op)])] = op;
      }
      if (plan_.step[at(op)] != nullptr) {
        for (const std::int32_t message : plan_.step[at(op)]->takes) plan_.taken_by[at(message)] = op;
      }
      if (!is_recv(what.kind)) continue;
      for (const Dependency& dependency : dependencies_.of(op)) {
        if (dependency.edge == Edge::message) plan_.sends_to[at(op)] = dependency.source;
      }
    }
  }

  void number_arrivals() {
    plan_.event_count = 2 * count();
    plan_.arrival.assign(count(), -1);
    for (OpIndex op = 0; op < static_cast<OpIndex>(count()); ++op) {
      if (plan_.graph.group[at(op)] >= 0) plan_.arrival[at(op)] = static_cast<std::int32_t>(plan_.event_count++);
    }
  }

  void find_waits() {
    for (OpIndex op = 0; op < static_cast<OpIndex>(count()); ++op) {
      if (!plan_.follows_send(op)) {
        for (const Constraint& constraint : plan_.graph.constraints_of(op)) {
          const OpIndex source = plan_.with_events(constraint.source);
          // A lane is in order, but for sends that take turns on one.
          const bool in_order = plan_.lane[at(source)] == plan_.lane[at(op)] && plan_.graph.sequence[at(op)] >= 0 && source < op;
          if (!in_order) plan_.waits.add({source, constraint.from_start});
        }
      }
      plan_.waits.next();
    }
  }

  /// A message's payload is asked for when the last op has run that its send waits for: the device's own lane
  /// alone touches the device.
  void find_gives() {
    std::vector<std::vector<std::int32_t>> gives(count());
    for (OpIndex op = 0; op < static_cast<OpIndex>(count()); ++op) {
      if (plan_.message[at(op)] < 0) continue;
      OpIndex maker = -1;
      for (const Dependency& dependency : dependencies_.of(op)) maker = std::max(maker, dependency.source);
      if (maker >= 0) gives[at(maker)].push_back(plan_.message[at(op)]);
    }
    for (const auto& messages : gives) {
      for (const std::int32_t message : messages) plan_.gives.add(message);
      plan_.gives.next();
    }
  }

  void find_listeners() {
    std::vector<std::set<Rank>> listeners(count());
    const auto listen = [&](Rank rank, OpIndex source) {
      if (plan_.rank[at(source)] != rank) listeners[at(source)].insert(rank);
    };
    for (OpIndex op = 0; op < static_cast<OpIndex>(count()); ++op) {
      const Rank rank = plan_.rank[at(op)];
      for (const StreamWait& wait : plan_.waits.of(op)) listen(rank, wait.source);
      if (const std::int32_t group = plan_.graph.group[at(op)]; group >= 0) {
        for (const OpIndex member : plan_.graph.members(group)) listen(rank, member);
      }
    }
    for (const auto& ranks : listeners) {
      for (const Rank rank : ranks) plan_.listeners.add(rank);
      plan_.listeners.next();
    }
  }

  const Program& program_;
  StreamPlan& plan_;
  Dependencies dependencies_;
};

}  // namespace

StreamPlan::StreamPlan(const Program& program, std::span<const std::int64_t> output_bytes)
    : graph(constraint_graph(program, output_bytes)), plan(make_plan(program, {})) {
  StreamPlanner(program, *this).fill();
}

}  // namespace bubblescope
