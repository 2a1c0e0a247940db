// The sweep: visits the ops of a constraint graph in an order in which everything an op waits for
// comes before it, and says what waits for what where that is impossible.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/core/constraints.hpp"

namespace bubblescope {

/// Ops that wait for each other, each for the next and the last for the first; empty: all were visited.
using WaitCycle = std::vector<OpIndex>;

/// A visitor for those who only ask whether the ops can run.
struct Untimed {
  void arrive(OpIndex) {}
  void complete(OpIndex) {}
};

/// Calls `visitor.arrive(op)` when the op's turn has come and all its constraints are done, and
/// `visitor.complete(op)` when it starts: at once, or for members of a group after the last arrived.
/// Every op is touched a constant number of times; no topological order is built beforehand.
template <class Visitor>
WaitCycle sweep(const ConstraintGraph& graph, Visitor& visitor) {
  class Sweep {
   public:
    Sweep(const ConstraintGraph& g, Visitor& v)
        : graph_(g), visitor_(v), done_(g.op_count(), 0), waiter_(g.op_count(), -1),
          next_(g.sequence_first.begin(), g.sequence_first.end() - 1), next_waiter_(next_.size(), -1),
          arrived_(g.group_first.empty() ? 0 : g.group_first.size() - 1, 0) {}

    WaitCycle run() {
      for (std::int32_t s = graph_.sequences() - 1; s >= 0; --s) ready_.push_back(s);
      drain();
      // Ops without a sequence that nobody asked for.
      for (OpIndex op = 0; op < static_cast<OpIndex>(graph_.op_count()); ++op) {
        if (!done_[at(op)] && graph_.sequence[at(op)] < 0) resolve(op);
      }
      drain();
      for (std::int32_t s = 0; s < graph_.sequences(); ++s) {
        if (next_[at(s)] < graph_.sequence_first[at(s) + 1]) return cycle_from(s);
      }
      return {};
    }

   private:
    static std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }

    void drain() {
      while (!ready_.empty()) {
        const std::int32_t sequence = ready_.back();
        ready_.pop_back();
        advance(sequence);
      }
    }

    /// Runs a sequence until its next op has to wait.
    void advance(std::int32_t sequence) {
      while (next_[at(sequence)] < graph_.sequence_first[at(sequence) + 1]) {
        const OpIndex op = graph_.sequence_ops[at(next_[at(sequence)])];
        const OpIndex blocker = first_open(op);
        if (blocker >= 0) {
          next_waiter_[at(sequence)] = waiter_[at(blocker)];
          waiter_[at(blocker)] = sequence;
          return;
        }
        const std::int32_t group = graph_.group[at(op)];
        visitor_.arrive(op);
        if (group < 0) {
          ++next_[at(sequence)];
          finish(op);
          continue;
        }
        const auto members = graph_.members(group);
        if (++arrived_[at(group)] < static_cast<std::int32_t>(members.size())) {
          return;  // the last member to arrive goes on from here
        }
        for (const OpIndex member : members) {
          const std::int32_t other = graph_.sequence[at(member)];
          if (other >= 0) {
            ++next_[at(other)];
            if (other != sequence) ready_.push_back(other);
          }
          finish(member);
        }
      }
    }

    void finish(OpIndex op) {
      visitor_.complete(op);
      done_[at(op)] = 1;
      for (std::int32_t s = waiter_[at(op)]; s >= 0;) {
        const std::int32_t following = next_waiter_[at(s)];
        ready_.push_back(s);
        s = following;
      }
      waiter_[at(op)] = -1;
    }

    /// The op in a sequence that `op` must wait for first, or -1 where all its constraints are done.
    OpIndex first_open(OpIndex op) {
      for (const Constraint& constraint : graph_.constraints_of(op)) {
        if (done_[at(constraint.source)]) continue;
        if (graph_.sequence[at(constraint.source)] >= 0) return constraint.source;
        if (const OpIndex open = resolve(constraint.source); open >= 0) return open;
      }
      return -1;
    }

    /// Finishes an op without a sequence if it can be; else what it waits for. The chain is short: a
    /// receive, its send, and what the send sends.
    OpIndex resolve(OpIndex op) {
      if (const OpIndex open = first_open(op); open >= 0) return open;
      visitor_.arrive(op);
      finish(op);
      return -1;
    }

    /// Follows who waits for whom from a blocked sequence until an op comes up again.
    WaitCycle cycle_from(std::int32_t sequence) {
      WaitCycle path;
      std::vector<std::int32_t> seen(graph_.op_count(), -1);
      OpIndex op = head(sequence);
      while (seen[at(op)] < 0) {
        seen[at(op)] = static_cast<std::int32_t>(path.size());
        path.push_back(op);
        op = waits_for(op);
      }
      return {path.begin() + seen[at(op)], path.end()};
    }

    OpIndex head(std::int32_t sequence) const { return graph_.sequence_ops[at(next_[at(sequence)])]; }

    OpIndex waits_for(OpIndex op) {
      const std::int32_t sequence = graph_.sequence[at(op)];
      if (sequence >= 0 && head(sequence) != op) return head(sequence);  // behind another op
      if (const OpIndex open = first_open(op); open >= 0) return open;
      for (const OpIndex member : graph_.members(graph_.group[at(op)])) {
        const std::int32_t other = graph_.sequence[at(member)];
        if (member != op && (head(other) != member || first_open(member) >= 0)) return member;
      }
      return op;
    }

    const ConstraintGraph& graph_;
    Visitor& visitor_;
    std::vector<std::uint8_t> done_;
    std::vector<std::int32_t> waiter_;       // op -> first sequence that waits for it
    std::vector<std::int32_t> next_;         // sequence -> position of its next op
    std::vector<std::int32_t> next_waiter_;  // sequence -> next one that waits for the same op
    std::vector<std::int32_t> arrived_;      // group -> members that have arrived
    std::vector<std::int32_t> ready_;
  };
  return Sweep(graph, visitor).run();
}

}  // namespace bubblescope
