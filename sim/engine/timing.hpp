// The timing rules both engines share: when an op that has everything it waits for may start, and
// what it waited for last.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/core/cluster.hpp"
#include "sim/core/constraints.hpp"
#include "sim/core/costs.hpp"
#include "sim/core/executed.hpp"
#include "sim/core/program.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {

/// When the host issued an op's kernels.
struct Issue {
  Nanos begin = 0;  ///< the host turned to it
  Nanos first = 0;  ///< first kernel launched: the op cannot start earlier
  Nanos last = 0;   ///< last kernel launched: the op cannot end earlier
};

/// Durations of all ops, and the state of a run as ops arrive and end. An engine calls `arrive` when
/// all constraints of an op are done (members of a group: `join` when the last has arrived), sets
/// its end, and calls `passed` so that its sequence goes on.
class Timing {
 public:
  /// Throws InputError where the cluster has fewer ranks than the program.
  Timing(const Program& program, const ConstraintGraph& graph, const StageCosts& costs, const Cluster& cluster);

  /// Sets the op's `start`, and what it waited for last. Returns the time from which the op runs, which is its
  /// start but for a holding send (it starts when it offers, and runs from acceptance) and a receive that waits
  /// for its data (its start is that of the part of the transfer that comes after its turn).
  Nanos arrive(OpIndex op);
  /// Sets the common start of a group whose members have all arrived; returns it.
  Nanos join(std::int32_t group);
  /// Work of an op once it runs; what engines add to the time it runs from.
  Nanos duration(OpIndex op) const { return duration_[index(op)]; }
  /// The earliest an op may end because of its kernels' launches; 0 where there is none.
  Nanos launched(OpIndex op) const { return issue_.empty() ? 0 : issue_[index(op)].last; }
  /// Records the end and makes the op the last of its sequence.
  void passed(OpIndex op, Nanos end);

  const Executed& executed(OpIndex op) const { return executed_[index(op)]; }
  const std::vector<Executed>& all() const { return executed_; }
  const std::vector<Issue>& issues() const { return issue_; }
  Rank rank_of(OpIndex op) const { return rank_[index(op)]; }
  const Op& op_at(OpIndex op) const;
  /// Bytes that a send or receive moves, and that an ALLREDUCE makes its rank send; 0 for other ops.
  std::int64_t bytes(OpIndex op, const Op& what) const;

 private:
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }
  Nanos wire(OpIndex op, const Constraint& constraint) const;
  Nanos all_reduce(OpIndex op, Stage stage) const;
  std::int64_t gradients(Stage stage) const { return stage >= 0 && stage < costs_.stages() ? costs_.bytes(stage).gradients : 0; }
  Wait wait_behind(std::size_t op, std::size_t before) const;
  void issue(OpIndex op);

  const Program& program_;
  const ConstraintGraph& graph_;
  const StageCosts& costs_;
  const Cluster& cluster_;
  ChainLinks links_;
  std::vector<Rank> rank_;
  std::vector<Wait> imposes_;    ///< op -> what the op behind it in its sequence waits for
  std::vector<Nanos> duration_;  ///< of the op; for sends and receives the wire time where it lasts
  std::vector<Nanos> wire_;      ///< of receives whose send does not last; empty where there are none
  std::vector<Nanos> copy_out_;  ///< of sends that copy before they offer; empty where there are none
  std::vector<Executed> executed_;
  std::vector<OpIndex> last_;    ///< sequence -> its newest op, or -1
  std::vector<Nanos> host_;      ///< rank -> when its host is free
  std::vector<Nanos> host_work_;  ///< by op: what its host needs to issue it
  std::vector<std::int32_t> issued_;  ///< rank -> ops of its compute stream issued so far
  std::vector<Issue> issue_;
};

/// Bytes that every stage of `program` sends forward, as `constraint_graph` takes them.
std::vector<std::int64_t> output_sizes(const Program& program, const StageCosts& costs);

/// The Timeline of a run: one compute and one communication track per rank, others where used.
Timeline make_timeline(const Program& program, const Timing& timing);

/// The two engines. Each runs `timing` to the end and returns the ops that wait for each other where
/// it cannot.
std::vector<OpIndex> run_sweep(const ConstraintGraph& graph, Timing& timing);
std::vector<OpIndex> run_events(const Program& program, const ConstraintGraph& graph, Timing& timing, const StageCosts& costs, const Cluster& cluster);

/// Whether ops that run at the same time slow each other down on this cluster, so that only events do.
bool needs_events(const Program& program, const StageCosts& costs, const Cluster& cluster);

}  // namespace bubblescope
