// The constraint graph of a Program: every op, the sequence it stands in, and what must have started
// or ended before it may start, channels included. Simulation and validation walk this one graph.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/core/dependencies.hpp"
#include "sim/core/program.hpp"
#include "sim/core/timeline.hpp"
#include "sim/core/validate.hpp"

namespace bubblescope {

/// One thing an op waits for.
struct Constraint {
  OpIndex source = -1;
  bool from_start = false;  ///< counts from the source's start, not its end
  bool wire = false;        ///< plus the time of the transfer
  bool latency_only = false;  ///< of which only the latency counts (no communication op exists)
  Wait wait = Wait::data;   ///< what the op waits for while this one is open
};

/// How a send or receive takes its time.
enum class Transfer : std::uint8_t {
  none,         ///< not a send or receive
  send_hold,    ///< ends at acceptance; the wire time passes elsewhere
  send_occupy,  ///< lasts for the wire time, and its FIFO with it
  recv_joint,   ///< starts together with its send and lasts for the wire time
  recv_wait,    ///< ends when its data has arrived
};

/// Ops are numbered flat (sim/core/op_table.hpp).
struct ConstraintGraph {
  std::vector<OpIndex> offsets;          ///< of the rows
  std::vector<std::int32_t> sequence;    ///< op -> in-order sequence, -1: waits for its constraints only
  std::vector<std::int32_t> sequence_first;  ///< sequence -> range in `sequence_ops`
  std::vector<OpIndex> sequence_ops;
  std::vector<std::uint32_t> constraint_first;  ///< op -> range in `constraints`
  std::vector<Constraint> constraints;
  std::vector<std::int32_t> group;       ///< op -> group that starts together, or -1
  std::vector<std::int32_t> group_first; ///< group -> range in `group_ops`
  std::vector<OpIndex> group_ops;
  std::vector<Transfer> transfer;        ///< how a send or receive takes its time
  std::vector<Rank> peer;                ///< of a send or receive, else -1

  std::size_t op_count() const { return sequence.size(); }
  std::int32_t sequences() const { return static_cast<std::int32_t>(sequence_first.size()) - 1; }
  std::span<const Constraint> constraints_of(OpIndex op) const {
    const auto i = static_cast<std::size_t>(op);
    return {constraints.data() + constraint_first[i], constraints.data() + constraint_first[i + 1]};
  }
  std::span<const OpIndex> members(std::int32_t g) const {
    const auto i = static_cast<std::size_t>(g);
    return {group_ops.data() + group_first[i], group_ops.data() + group_first[i + 1]};
  }
};

/// Sequences: one per rank for compute ops, barriers, ALLREDUCEs, sends that hold the compute stream and
/// receives at use; one per rank for copies and one for collectives; one per FIFO of the channels. With x the
/// time of the transfer, offered = its turn has come and its data is there:
///   rendezvous (capacity 0, above the eager size): send and receive start together when both have
///     their turn; a send that holds or commits ends at once, an immediate one after x; the receive ends
///     after x;
///   else the entry is accepted when it is offered and, for capacity Q >= 1, the consumer of the
///     Q-th entry before it on that edge has started; it arrives x later.
/// A dependency between ranks without communication ops costs the link's latency.
/// `output_bytes` by the stage that sends forward decide what is eager; empty: every message has 0 bytes, so
/// all are where a channel has an eager size.
ConstraintGraph constraint_graph(const Program& program, std::span<const std::int64_t> output_bytes = {});

/// V2 and V3 of a Program that passed V1: cycles among the ops whatever the channels, then per channel whether
/// the k-th send is the k-th receive, and deadlock under its rules. `output_bytes` as for `constraint_graph`.
std::vector<Finding> check_progress(const Program& program, std::span<const std::int64_t> output_bytes = {});

}  // namespace bubblescope
