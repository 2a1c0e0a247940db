// Building the constraint graph: sequences, channel rules, groups.
#include "sim/core/constraints.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "sim/core/error.hpp"
#include "sim/core/index.hpp"
#include "sim/core/sweep.hpp"

namespace bubblescope {
namespace {

/// Builds one graph; the steps are called in the order in which they stand here.
class Builder {
 public:
  Builder(const Program& program, std::span<const std::int64_t> output_bytes)
      : program_(program), output_bytes_(output_bytes), links_(chain_links(program)), ops_(program), dependencies_(derive_dependencies(program, ops_)) {
    const std::size_t count = program.op_count();
    graph_.offsets = row_offsets(program);
    graph_.sequence.assign(count, -1);
    graph_.group.assign(count, -1);
    graph_.transfer.assign(count, Transfer::none);
    graph_.peer.assign(count, -1);
    graph_.constraint_first.reserve(count + 1);
    graph_.constraints.reserve(dependencies_.edge_count());
    if (program.channels.empty()) throw InputError("the program has no channel rules");
    prepare_edges();
  }

  ConstraintGraph build() {
    choose_sequences();
    fill_sequences();
    group_rendezvous();
    group_collectives();
    constrain();
    return std::move(graph_);
  }

 private:
  /// The channel of every edge, by the stage that sends forward: looked up once per stage, used per op.
  void prepare_edges() {
    for (Stage s = 0; s < program_.stages(); ++s) {
      const Stage next = links_.next[at(s)];
      edges_.push_back(next < 0 ? nullptr : &program_.channel(s, next));
    }
  }

  const Channel& channel_of(const Op& op) const {
    const Stage from = boundary_stage(links_, op);
    const Channel* channel = from < 0 ? nullptr : edges_[at(from)];
    if (channel == nullptr) throw InputError(fmt::format("op {} has no stage on the other side", cell(op)));
    return *channel;
  }
  std::int64_t message_bytes(const Op& op) const {
    return output_bytes_.empty() ? 0 : output_bytes_[at(boundary_stage(links_, op))];
  }
  bool rendezvous(const Op& op, const Channel& channel) const {
    return channel.capacity == 0 && (channel.eager_bytes <= 0 || message_bytes(op) > channel.eager_bytes);
  }

  /// The number of the FIFO of sends to, or receives from, a peer; numbered as they come up, as most pairs of
  /// ranks have none.
  std::int32_t edge_fifo(Rank rank, const Op& op, Rank peer) {
    if (edge_fifo_of_.empty()) edge_fifo_of_.assign(at(4 * program_.stages()), -1);
    std::int32_t& known = edge_fifo_of_[at(4 * op.stage + static_cast<int>(op.kind) - static_cast<int>(Kind::SEND_F))];
    if (known < 0) known = edge_fifos_.try_emplace({rank, is_send(op.kind), peer}, static_cast<std::int32_t>(edge_fifos_.size())).first->second;
    return known;
  }

  void choose_sequences() {
    const std::int32_t p = program_.ranks();
    const std::int32_t copies = p, collectives = 2 * p, by_rank = 3 * p, by_data = 4 * p, by_edge = 6 * p;
    OpIndex index = 0;
    for (Rank r = 0; r < p; ++r) {
      for (const Op& op : program_.rows[at(r)]) {
        std::int32_t& sequence = graph_.sequence[at(index)];
        switch (op.kind) {
          case Kind::SEND_F:
          case Kind::SEND_B:
          case Kind::RECV_F:
          case Kind::RECV_B: {
            const Channel& channel = channel_of(op);
            const bool send = is_send(op.kind);
            graph_.peer[at(index)] = program_.stage_rank[at(peer_stage(links_, op))];
            Fifo fifo = channel.fifo;
            if (send && channel.send == Send::commit && fifo == Fifo::none) fifo = Fifo::edge;
            if (send ? channel.send == Send::holding : channel.receive == Receive::at_use) {
              sequence = r;
            } else if (fifo == Fifo::rank) {
              sequence = by_rank + r;
            } else if (fifo == Fifo::data) {
              sequence = by_data + 2 * r + (carries_activation(op.kind) ? 0 : 1);
            } else if (fifo == Fifo::edge) {
              sequence = by_edge + edge_fifo(r, op, graph_.peer[at(index)]);
            }
            const bool joint = rendezvous(op, channel);
            graph_.transfer[at(index)] = !send ? (joint ? Transfer::recv_joint : Transfer::recv_wait)
                                         : channel.send == Send::immediate ? Transfer::send_occupy
                                                                           : Transfer::send_hold;
            break;
          }
          case Kind::BATCH_P2P:
            throw InputError(fmt::format("rank {} has {}: expand it into its parts first", r, cell(program_, op)));
          case Kind::D2H:
          case Kind::H2D:
            sequence = copies + r;
            break;
          case Kind::UNSHARD:
          case Kind::RESHARD:
          case Kind::REDUCE_GRAD:
            sequence = collectives + r;
            break;
          default:
            sequence = r;
        }
        ++index;
      }
    }
    graph_.sequence_first.assign(at(by_edge) + edge_fifos_.size() + 1, 0);
  }

  void fill_sequences() {
    auto& first = graph_.sequence_first;
    for (const std::int32_t sequence : graph_.sequence) {
      if (sequence >= 0) ++first[at(sequence) + 1];
    }
    for (std::size_t s = 1; s < first.size(); ++s) first[s] += first[s - 1];
    graph_.sequence_ops.resize(at(first.back()));
    std::vector<std::int32_t> fill(first.begin(), first.end() - 1);
    for (OpIndex op = 0; op < static_cast<OpIndex>(graph_.op_count()); ++op) {
      const std::int32_t sequence = graph_.sequence[at(op)];
      if (sequence >= 0) graph_.sequence_ops[at(fill[at(sequence)]++)] = op;
    }
  }

  void add_group(std::span<const OpIndex> members) {
    if (graph_.group_first.empty()) graph_.group_first.push_back(0);
    const auto group = static_cast<std::int32_t>(graph_.group_first.size()) - 1;
    for (const OpIndex op : members) {
      graph_.group[at(op)] = group;
      graph_.group_ops.push_back(op);
    }
    graph_.group_first.push_back(static_cast<std::int32_t>(graph_.group_ops.size()));
  }

  /// A rendezvous is a group of two where both sides stand in a sequence. Where only one does, the
  /// other is always ready, and the constraint between them says it all.
  void group_rendezvous() {
    for (OpIndex op = 0; op < static_cast<OpIndex>(graph_.op_count()); ++op) {
      if (graph_.transfer[at(op)] != Transfer::recv_joint) continue;
      const OpIndex send = send_of(op);
      if (send < 0) continue;
      if (graph_.sequence[at(op)] < 0) {
        graph_.transfer[at(op)] = Transfer::recv_wait;
      } else if (graph_.sequence[at(send)] < 0) {
        graph_.transfer[at(send)] = Transfer::send_hold;
      } else {
        const OpIndex pair[] = {send, op};
        add_group(pair);
      }
    }
  }

  OpIndex send_of(OpIndex recv) const {
    for (const Dependency& dependency : dependencies_.of(recv)) {
      if (dependency.edge == Edge::message) return dependency.source;
    }
    return -1;
  }

  /// The k-th SYNC of every rank start together, and so do the k-th ALLREDUCEs of a stage's copies.
  void group_collectives() {
    std::map<std::pair<std::int32_t, std::int32_t>, std::vector<OpIndex>> groups;  // (k, position or -1)
    OpIndex index = 0;
    for (const auto& row : program_.rows) {
      std::map<std::int32_t, std::int32_t> count;  // SYNC: -1, else stage -> how many so far
      for (const Op& op : row) {
        if (op.kind == Kind::SYNC) groups[{count[-1]++, -1}].push_back(index);
        if (op.kind == Kind::ALLREDUCE) groups[{count[op.stage]++, links_.position[at(op.stage)]}].push_back(index);
        ++index;
      }
    }
    for (const auto& [key, members] : groups) {
      if (members.size() > 1) add_group(members);
    }
  }

  /// Whether `before` stands before `op` in the same sequence, so that the order says it already.
  bool ordered(OpIndex before, OpIndex op) const {
    return before < op && graph_.sequence[at(before)] >= 0 && graph_.sequence[at(before)] == graph_.sequence[at(op)];
  }

  void constrain() {
    if (std::any_of(program_.channels.begin(), program_.channels.end(), [](const Channel& c) { return c.capacity > 0; })) find_consumers();
    graph_.constraint_first.push_back(0);
    std::map<std::pair<Stage, Kind>, std::vector<OpIndex>> sent;  // per edge, in order
    OpIndex index = 0;
    for (Rank r = 0; r < program_.ranks(); ++r) {
      for (const Op& op : program_.rows[at(r)]) {
        for (const Dependency& dependency : dependencies_.of(index)) {
          if (ordered(dependency.source, index)) continue;
          add_dependency(r, index, dependency);
        }
        if (is_send(op.kind)) add_credit(op, index, sent);
        graph_.constraint_first.push_back(static_cast<std::uint32_t>(graph_.constraints.size()));
        ++index;
      }
    }
  }

  void add_dependency(Rank rank, OpIndex op, const Dependency& dependency) {
    bool wire = false;
    bool latency_only = false;
    Wait wait = Wait::data;
    if (dependency.edge == Edge::message) {
      if (graph_.group[at(op)] >= 0) return;  // the rendezvous starts both
      wire = graph_.transfer[at(op)] == Transfer::recv_wait && graph_.transfer[at(dependency.source)] == Transfer::send_hold;
    } else if (dependency.edge != Edge::own) {
      const bool received = dependency.source >= graph_.offsets[at(rank)] && dependency.source < graph_.offsets[at(rank) + 1];
      wire = latency_only = !received;
      wait = Wait::transfer;
    }
    graph_.constraints.push_back({dependency.source, false, wire, latency_only, wait});
  }

  void find_consumers() {
    // What takes an entry: the op that waits for its receive.
    consumers_.assign(graph_.op_count(), -1);
    for (OpIndex op = 0; op < static_cast<OpIndex>(graph_.op_count()); ++op) {
      for (const Dependency& dependency : dependencies_.of(op)) {
        if (dependency.edge == Edge::activation || dependency.edge == Edge::gradient) consumers_[at(dependency.source)] = op;
      }
    }
    receives_.assign(graph_.op_count(), -1);
    for (OpIndex op = 0; op < static_cast<OpIndex>(graph_.op_count()); ++op) {
      if (graph_.transfer[at(op)] == Transfer::recv_joint || graph_.transfer[at(op)] == Transfer::recv_wait) {
        if (const OpIndex send = send_of(op); send >= 0) receives_[at(send)] = op;
      }
    }
  }

  /// A bounded channel accepts an entry when the consumer of the one `capacity` before it has started.
  void add_credit(const Op& op, OpIndex index, std::map<std::pair<Stage, Kind>, std::vector<OpIndex>>& sent) {
    const Channel& channel = channel_of(op);
    if (channel.capacity <= 0) return;
    auto& before = sent[{op.stage, op.kind}];
    before.push_back(index);
    if (static_cast<std::int32_t>(before.size()) <= channel.capacity) return;
    if (channel.eager_bytes > 0 && message_bytes(op) <= channel.eager_bytes) return;
    const OpIndex recv = receives_[at(before[before.size() - 1 - at(channel.capacity)])];
    const OpIndex consumer = recv < 0 ? -1 : consumers_[at(recv)];
    if (consumer < 0) return;
    Constraint credit{consumer};
    credit.from_start = true;
    credit.wait = Wait::capacity;
    graph_.constraints.push_back(credit);
  }

  const Program& program_;
  std::span<const std::int64_t> output_bytes_;
  ChainLinks links_;
  OpTable ops_;
  Dependencies dependencies_;
  ConstraintGraph graph_;
  std::vector<const Channel*> edges_;  // stage -> channel to the next one
  std::map<std::tuple<Rank, bool, Rank>, std::int32_t> edge_fifos_;
  std::vector<std::int32_t> edge_fifo_of_;  // stage and kind of transfer -> its number in them, once known
  std::vector<OpIndex> consumers_;  // receive -> the op that uses it
  std::vector<OpIndex> receives_;   // send -> its receive
};

}  // namespace

ConstraintGraph constraint_graph(const Program& program, std::span<const std::int64_t> output_bytes) {
  return Builder(program, output_bytes).build();
}

}  // namespace bubblescope
