// V2 and V3: can every op be reached? First whatever the channels are, then under their rules.
#include <fmt/format.h>

#include <map>
#include <utility>

#include "sim/core/constraints.hpp"
#include "sim/core/sweep.hpp"

namespace bubblescope {
namespace {

Finding cycle_finding(const Program& program, const ConstraintGraph& graph, const WaitCycle& cycle, int level, const std::string& message) {
  const OpAt place = locate(graph.offsets, cycle.front());
  const auto text = [&](OpIndex op) {
    const OpAt at = locate(graph.offsets, op);
    return cell(program, program.rows[static_cast<std::size_t>(at.rank)][static_cast<std::size_t>(at.position)]);
  };
  Finding finding{level, place.rank, place.position, text(cycle.front()), message, {}};
  for (const OpIndex op : cycle) finding.cycle.push_back(fmt::format("rank {}: {}", locate(graph.offsets, op).rank, text(op)));
  return finding;
}

/// The sends and receives of each edge in row order, by the stage that sends.
struct EdgeOrder {
  std::vector<std::pair<Op, std::int32_t>> sends;     ///< with positions
  std::vector<std::pair<Op, std::int32_t>> receives;
};

/// V3 (i): on every channel that has an order, the k-th send is the k-th receive.
void check_order(const Program& program, std::vector<Finding>& findings) {
  const ChainLinks links = chain_links(program);
  // (sending rank, receiving rank, which data where they have channels of their own)
  std::map<std::tuple<Rank, Rank, int>, EdgeOrder> orders;
  for (Rank r = 0; r < program.ranks(); ++r) {
    std::int32_t position = -1;
    for (const Op& op : program.rows[static_cast<std::size_t>(r)]) {
      ++position;
      if (!is_send(op.kind) && !is_recv(op.kind)) continue;
      const Stage other = peer_stage(links, op);
      if (other < 0) continue;
      const Channel& channel = channel_of(program, links, op);
      if (channel.fifo == Fifo::none) continue;
      const Rank peer = program.stage_rank[static_cast<std::size_t>(other)];
      const int data = channel.fifo == Fifo::data ? (carries_activation(op.kind) ? 0 : 1) : 2;
      if (is_send(op.kind)) {
        orders[{r, peer, data}].sends.emplace_back(op, position);
      } else {
        orders[{peer, r, data}].receives.emplace_back(op, position);
      }
    }
  }
  for (const auto& [key, order] : orders) {
    const auto [sender, receiver, data] = key;
    for (std::size_t k = 0; k < order.sends.size() && k < order.receives.size(); ++k) {
      const Op& send = order.sends[k].first;
      const Op& recv = order.receives[k].first;
      const bool forward = send.kind == Kind::SEND_F;
      const Stage target = peer_stage(links, send);
      const bool match = recv.kind == (forward ? Kind::RECV_F : Kind::RECV_B) && recv.stage == target && recv.microbatch == send.microbatch &&
                         recv.iteration == send.iteration && recv.slice == send.slice && recv.replica == send.replica;
      if (match) continue;
      findings.push_back({3, receiver, order.receives[k].second, cell(recv),
                          fmt::format("receive {} from rank {} is {}, but send {} of that rank is {}: the channel has no tags, so the data would be swapped", k, sender, cell(recv), k, cell(send)),
                          {}});
      break;
    }
  }
}

std::vector<Finding> check_as_it_is(const Program& program, std::span<const std::int64_t> output_bytes) {
  std::vector<Finding> findings;
  Untimed visitor;
  {
    Program free = program;
    free.channels = {Channel{}};
    const ConstraintGraph graph = constraint_graph(free);
    if (const WaitCycle cycle = sweep(graph, visitor); !cycle.empty()) {
      findings.push_back(cycle_finding(free, graph, cycle, 2, "ops wait for each other, whatever the channels are"));
      return findings;
    }
  }
  check_order(program, findings);
  const ConstraintGraph graph = constraint_graph(program, output_bytes);
  if (const WaitCycle cycle = sweep(graph, visitor); !cycle.empty()) {
    findings.push_back(cycle_finding(program, graph, cycle, 3, "ops wait for each other under the channels' rules: a deadlock"));
  }
  return findings;
}

}  // namespace

std::vector<Finding> check_progress(const Program& program, std::span<const std::int64_t> output_bytes) {
  std::vector<Finding> findings = check_as_it_is(program, output_bytes);
  // Iterations that overlap issue their ops in another order than one alone.
  if (findings.empty() && !program.overlap.empty()) findings = check_as_it_is(repeat_iterations(program, 2), output_bytes);
  return findings;
}

}  // namespace bubblescope
