// Planning: matches sends with receives and receives with the ops that use them.
#include "backend/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "sim/core/index.hpp"
#include "sim/core/dependencies.hpp"
#include "sim/core/error.hpp"
#include "sim/core/op_table.hpp"

namespace bubblescope {
namespace {

class Planner {
 public:
  Planner(const Program& program, const Cluster& network)
      : program_(program), network_(network), links_(chain_links(program)), table_(program),
        dependencies_(derive_dependencies(program, table_)), offsets_(row_offsets(program)) {}

  Plan plan() {
    if (program_.ordering != Ordering::in_order) {
      throw InputError("the executor walks rows in their order; this program's ordering is another one");
    }
    plan_.ranks.resize(program_.rows.size());
    message_of_.assign(program_.op_count(), -1);
    for (Rank r = 0; r < program_.ranks(); ++r) order_.push_back(stream_order(program_, r));
    for (Rank r = 0; r < program_.ranks(); ++r) add_sends(r);
    for (Rank r = 0; r < program_.ranks(); ++r) match_receives(r);
    for (Rank r = 0; r < program_.ranks(); ++r) fill_fifos(r);
    for (Rank r = 0; r < program_.ranks(); ++r) add_steps(r);
    fill_groups();
    return std::move(plan_);
  }

 private:
  const std::vector<Op>& row(Rank rank) const { return program_.rows[at(rank)]; }
  OpIndex index(Rank rank, std::size_t position) const { return offsets_[at(rank)] + static_cast<OpIndex>(position); }
  Rank rank_of(Stage stage) const { return program_.stage_rank[at(stage)]; }

  [[noreturn]] void refuse(Rank rank, std::size_t position, const std::string& what) const {
    throw InputError(fmt::format("rank {}, op {} ({}): {}", rank, position, cell(program_, row(rank)[position]), what));
  }

  /// The stage at the other end of a send or receive, or -1.
  Stage other(const Op& op) const { return peer_stage(links_, op); }
  const Channel& rules(const Op& op) const { return channel_of(program_, links_, op); }

  void add_sends(Rank rank) {
    for (std::size_t i = 0; i < row(rank).size(); ++i) {
      const Op& op = row(rank)[i];
      if (op.kind == Kind::BATCH_P2P) refuse(rank, i, "expand it into its parts first");
      if (!is_send(op.kind)) continue;
      if (other(op) < 0) refuse(rank, i, "there is no stage to send to");
      const auto [found, added] = edge_of_.try_emplace({op.stage, op.kind}, static_cast<std::int32_t>(plan_.edges.size()));
      if (added) {
        EdgePlan& edge = plan_.edges.emplace_back();
        edge.from = rank;
        edge.to = rank_of(other(op));
        edge.rules = rules(op);
        if (network_.ranks() > 0) edge.link = network_.between(edge.from, edge.to);
      }
      EdgePlan& edge = plan_.edges[at(found->second)];
      Message message;
      message.send = op;
      message.edge = found->second;
      message.order = static_cast<std::int32_t>(edge.messages.size());
      message_of_[at(index(rank, i))] = static_cast<std::int32_t>(plan_.messages.size());
      edge.messages.push_back(static_cast<std::int32_t>(plan_.messages.size()));
      plan_.messages.push_back(message);
    }
  }

  void match_receives(Rank rank) {
    for (std::size_t i = 0; i < row(rank).size(); ++i) {
      const Op& op = row(rank)[i];
      if (!is_recv(op.kind)) continue;
      const OpIndex send = other(op) < 0 ? -1 : table_.find(op.kind == Kind::RECV_F ? Kind::SEND_F : Kind::SEND_B, other(op), op);
      if (send < 0) refuse(rank, i, "nothing sends what it receives");
      const std::int32_t message = message_of_[at(send)];
      plan_.messages[at(message)].recv = op;
      message_of_[at(index(rank, i))] = message;
    }
  }

  /// The FIFO in which a transfer stands on `rank`, or -1: sends that hold and receives at use have
  /// their turn when the rank gets there.
  std::int32_t fifo_of(Rank rank, const Op& op) {
    const Channel& channel = rules(op);
    const bool send = is_send(op.kind);
    if (send ? channel.send == Send::holding : channel.receive == Receive::at_use) return -1;
    Fifo fifo = channel.fifo;
    if (fifo == Fifo::none && send && channel.send == Send::commit) fifo = Fifo::edge;
    int lane = 0;
    switch (fifo) {
      case Fifo::none: return -1;
      case Fifo::rank: break;
      case Fifo::data: lane = carries_activation(op.kind) ? 0 : 1; break;
      case Fifo::edge: lane = 2 * rank_of(other(op)) + (send ? 0 : 1); break;
    }
    const auto [found, added] = fifo_ids_.try_emplace({rank, fifo, lane}, static_cast<std::int32_t>(plan_.fifos.size()));
    if (added) plan_.fifos.emplace_back().rank = rank;
    return found->second;
  }

  void fill_fifos(Rank rank) {
    for (const StreamOp& place : order_[at(rank)]) {
      const std::size_t i = at(place.position);
      const Op& op = row(rank)[i];
      if (!is_send(op.kind) && !is_recv(op.kind)) continue;
      const std::int32_t fifo = fifo_of(rank, op);
      const std::int32_t message = message_of_[at(index(rank, i))];
      (is_send(op.kind) ? plan_.messages[at(message)].send_fifo : plan_.messages[at(message)].recv_fifo) = fifo;
      if (fifo >= 0) plan_.fifos[at(fifo)].entries.push_back({message, is_send(op.kind), place.late});
    }
  }

  /// The receive that `part` uses, if there is one.
  OpIndex receive_of(const Op& part) const {
    if (part.stage < 0) return -1;
    if (part.kind == Kind::F) return table_.find(Kind::RECV_F, part.stage, source_of(program_, part));
    if (has_gradients(program_.profile) && (part.kind == Kind::B || part.kind == Kind::I)) return table_.find(Kind::RECV_B, part.stage, part);
    return -1;
  }

  void add_steps(Rank rank) {
    // Where in the stream a step stands, and the step.
    std::vector<std::pair<std::size_t, Step>> steps;
    const std::vector<StreamOp>& order = order_[at(rank)];
    std::vector<std::size_t> of_position(order.size());
    for (std::size_t k = 0; k < order.size(); ++k) of_position[at(order[k].position)] = k;
    for (std::size_t i = 0; i < row(rank).size(); ++i) {
      Step step;
      step.op = row(rank)[i];
      step.position = static_cast<std::int32_t>(i);
      std::size_t place = i;
      if (is_send(step.op.kind)) {
        step.action = Action::send;
        step.message = message_of_[at(index(rank, i))];
        if (rules(step.op).send != Send::holding) place = end_of_data(rank, i);
      } else if (is_recv(step.op.kind)) {
        if (rules(step.op).receive == Receive::posted) continue;
        step.action = Action::receive;
        step.message = message_of_[at(index(rank, i))];
      } else if (is_collective(step.op.kind)) {
        step.action = Action::meet;
        step.group = group_of(rank, step.op);
      } else {
        add_compute(rank, i, step);
      }
      step.nvtx = nvtx_register("PP:" + cell(program_, step.op));
      step.late = order[of_position[place]].late;
      steps.emplace_back(of_position[place], std::move(step));
    }
    std::stable_sort(steps.begin(), steps.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [place, step] : steps) plan_.ranks[at(rank)].push_back(std::move(step));
  }

  /// Position of the last op that a send waits for; its own where that is on no earlier place.
  std::size_t end_of_data(Rank rank, std::size_t position) const {
    std::size_t last = 0;
    bool any = false;
    for (const Dependency& dependency : dependencies_.of(index(rank, position))) {
      const OpIndex source = dependency.source - offsets_[at(rank)];
      if (source < 0 || at(source) >= position) return position;
      last = std::max(last, at(source));
      any = true;
    }
    return any ? last : position;
  }

  void add_compute(Rank rank, std::size_t position, Step& step) {
    const auto parts = program_.parts_of(step.op);
    step.parts.assign(parts.begin(), parts.end());
    if (is_compound(step.op.kind)) {
      step.name = static_cast<std::int32_t>(plan_.names.size());
      plan_.names.push_back(cell(program_, step.op));
    }
    for (const Op& part : parts) {
      const OpIndex recv = receive_of(part);
      // Of a replayed input the first F takes the message; the device keeps it.
      if (recv >= 0 && taken_.insert(message_of_[at(recv)]).second) step.takes.push_back(message_of_[at(recv)]);
    }
    for (const Dependency& dependency : dependencies_.of(index(rank, position))) {
      if (dependency.source < offsets_[at(rank)] || dependency.source >= offsets_[at(rank) + 1]) {
        refuse(rank, position, "it needs data of another rank, and the program does not send it; add sends and receives first");
      }
    }
  }

  std::int32_t group_of(Rank rank, const Op& op) {
    const bool everyone = op.kind == Kind::SYNC;
    const std::int32_t k = met_[{rank, everyone ? -1 : Stage{op.stage}}]++;
    const std::int32_t which = everyone ? -1 : links_.position[at(op.stage)];
    const auto [found, added] = group_ids_.try_emplace({which, k}, static_cast<std::int32_t>(plan_.groups.size()));
    if (added) plan_.groups.emplace_back();
    return found->second;
  }

  void fill_groups() {
    for (Rank r = 0; r < program_.ranks(); ++r) {
      for (const Step& step : plan_.ranks[at(r)]) {
        if (step.group >= 0) plan_.groups[at(step.group)].members.push_back(r);
      }
    }
  }

  const Program& program_;
  const Cluster& network_;
  ChainLinks links_;
  OpTable table_;
  Dependencies dependencies_;
  std::vector<OpIndex> offsets_;
  std::vector<std::vector<StreamOp>> order_;  // by rank
  Plan plan_;
  std::set<std::int32_t> taken_;
  std::vector<std::int32_t> message_of_;  // send or receive -> its message
  std::map<std::pair<Stage, Kind>, std::int32_t> edge_of_;
  std::map<std::tuple<Rank, Fifo, int>, std::int32_t> fifo_ids_;
  std::map<std::pair<std::int32_t, std::int32_t>, std::int32_t> group_ids_;
  std::map<std::pair<Rank, std::int32_t>, std::int32_t> met_;
};

}  // namespace

Plan make_plan(const Program& program, const Cluster& network) { return Planner(program, network).plan(); }

}  // namespace bubblescope
