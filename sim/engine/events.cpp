// The general engine: an event heap. Ops that run at the same time may share cores, so an op's end is
// known only when it comes.
#include <algorithm>
#include <cmath>
#include <queue>
#include <set>
#include <tuple>

#include "sim/core/index.hpp"
#include "sim/core/sweep.hpp"
#include "sim/engine/timing.hpp"

namespace bubblescope {
namespace {

/// Compute ops under way on cores that several ranks may use. A core is shared equally by the ops on
/// it; an op on several cores goes at their mean share. Besides, with other cores busy an op takes
/// longer, up to its busy factor when all of them are.
class Cores {
 public:
  Cores(const Cluster& cluster) : cluster_(cluster) {
    std::set<std::int32_t> all;
    for (const DeviceSpec& device : cluster.devices) all.insert(device.cores.begin(), device.cores.end());
    total_ = static_cast<double>(all.size());
    load_.assign(all.empty() ? 0 : at(*all.rbegin()) + 1, 0);
  }

  void start(OpIndex op, Rank rank, Nanos now, Nanos work, double busy_factor) {
    advance(now);
    running_.push_back({op, rank, static_cast<double>(work), busy_factor, 1.0});
    for (const std::int32_t core : cores(rank)) ++load_[at(core)];
    set_rates();
  }

  /// When the next op ends if nothing changes; the ends of ties come in the order of the ops.
  std::pair<Nanos, OpIndex> next_end() const {
    std::pair<Nanos, OpIndex> best{-1, -1};
    for (const Running& run : running_) {
      const Nanos end = now_ + static_cast<Nanos>(std::ceil(std::max(0.0, run.remaining) / run.rate - 1e-6));
      if (best.second < 0 || std::pair(end, run.op) < best) best = {end, run.op};
    }
    return best;
  }

  void end(OpIndex op, Nanos now) {
    advance(now);
    const auto found = std::find_if(running_.begin(), running_.end(), [op](const Running& run) { return run.op == op; });
    for (const std::int32_t core : cores(found->rank)) --load_[at(core)];
    running_.erase(found);
    set_rates();
  }

 private:
  struct Running {
    OpIndex op;
    Rank rank;
    double remaining;  // ns of work with the machine to itself
    double busy_factor;
    double rate;       // work per ns
  };

  const std::vector<std::int32_t>& cores(Rank rank) const { return cluster_.devices[at(rank)].cores; }

  void advance(Nanos now) {
    for (Running& run : running_) run.remaining -= run.rate * static_cast<double>(now - now_);
    now_ = now;
  }

  void set_rates() {
    const auto busy = static_cast<double>(std::count_if(load_.begin(), load_.end(), [](std::int32_t n) { return n > 0; }));
    for (Running& run : running_) {
      double share = 0;
      const auto& own = cores(run.rank);
      for (const std::int32_t core : own) share += 1.0 / load_[at(core)];
      const double count = static_cast<double>(own.size());
      if (own.empty()) share = 1; else share /= count;
      const double others = total_ - count;
      const double interference = others > 0 ? 1 + (run.busy_factor - 1) * (busy - count) / others : 1;
      run.rate = share / interference;
    }
  }

  const Cluster& cluster_;
  double total_ = 0;
  Nanos now_ = 0;
  std::vector<std::int32_t> load_;  // core -> ops on it
  std::vector<Running> running_;
};

class EventEngine {
 public:
  EventEngine(const Program& program, const ConstraintGraph& graph, Timing& timing, const StageCosts& costs, const Cluster& cluster)
      : program_(program), graph_(graph), timing_(timing), costs_(costs), shared_(needs_events(program, costs, cluster)), cores_(cluster),
        started_(graph.op_count(), 0), ended_(graph.op_count(), 0), waiters_(graph.op_count(), -1), arrived_(graph.group_first.empty() ? 0 : graph.group_first.size() - 1, 0) {
    // An op without a sequence is a sequence of its own here.
    for (std::int32_t s = 0; s < graph.sequences(); ++s) {
      next_.push_back(graph.sequence_first[at(s)]);
      end_.push_back(graph.sequence_first[at(s) + 1]);
    }
    order_ = graph.sequence_ops;
    sequence_ = graph.sequence;
    for (OpIndex op = 0; op < static_cast<OpIndex>(graph.op_count()); ++op) {
      if (sequence_[at(op)] >= 0) continue;
      sequence_[at(op)] = static_cast<std::int32_t>(next_.size());
      next_.push_back(static_cast<std::int32_t>(order_.size()));
      order_.push_back(op);
      end_.push_back(static_cast<std::int32_t>(order_.size()));
    }
    next_waiter_.assign(next_.size(), -1);
  }

  bool run() {
    for (std::int32_t s = 0; s < static_cast<std::int32_t>(next_.size()); ++s) look(s);
    while (true) {
      const auto [end, op] = cores_.next_end();
      if (op >= 0 && (heap_.empty() || std::tuple(end, op, true) < key(heap_.top()))) {
        cores_.end(op, end);
        push(std::max(end, timing_.launched(op)), op, true);
        continue;
      }
      if (heap_.empty()) break;
      const Event event = heap_.top();
      heap_.pop();
      if (event.is_end) {
        ended(event.op, event.time);
      } else {
        start(event.op, event.time);
      }
    }
    return std::all_of(ended_.begin(), ended_.end(), [](std::uint8_t e) { return e != 0; });
  }

 private:
  struct Event {
    Nanos time;
    OpIndex op;
    bool is_end;
  };
  static std::tuple<Nanos, OpIndex, bool> key(const Event& event) { return {event.time, event.op, event.is_end}; }
  struct Later {
    bool operator()(const Event& a, const Event& b) const { return key(a) > key(b); }
  };

  void push(Nanos time, OpIndex op, bool is_end) { heap_.push({time, op, is_end}); }

  /// Looks whether a sequence's next op has all it waits for.
  void look(std::int32_t sequence) {
    if (next_[at(sequence)] >= end_[at(sequence)]) return;
    const OpIndex op = order_[at(next_[at(sequence)])];
    for (const Constraint& constraint : graph_.constraints_of(op)) {
      if (constraint.from_start ? started_[at(constraint.source)] : ended_[at(constraint.source)]) continue;
      next_waiter_[at(sequence)] = waiters_[at(constraint.source)];
      waiters_[at(constraint.source)] = sequence;
      return;
    }
    const Nanos ready = timing_.arrive(op);
    const std::int32_t group = graph_.group[at(op)];
    if (group < 0) {
      push(ready, op, false);
      return;
    }
    const auto members = graph_.members(group);
    if (++arrived_[at(group)] < static_cast<std::int32_t>(members.size())) return;
    const Nanos together = timing_.join(group);
    for (const OpIndex member : members) push(together, member, false);
  }

  void start(OpIndex op, Nanos now) {
    started_[at(op)] = 1;
    wake(op);
    const Nanos work = timing_.duration(op);
    const Op& what = timing_.op_at(op);
    if (shared_ && work > 0 && is_compute(what.kind)) {
      cores_.start(op, timing_.rank_of(op), now, work, costs_.of(program_, what).busy_factor);
    } else {
      push(std::max(now + work, timing_.launched(op)), op, true);
    }
  }

  void ended(OpIndex op, Nanos now) {
    timing_.passed(op, now);
    ended_[at(op)] = 1;
    wake(op);
    const std::int32_t sequence = sequence_[at(op)];
    ++next_[at(sequence)];
    look(sequence);
  }

  void wake(OpIndex op) {
    std::int32_t sequence = waiters_[at(op)];
    waiters_[at(op)] = -1;
    while (sequence >= 0) {
      const std::int32_t following = next_waiter_[at(sequence)];
      look(sequence);
      sequence = following;
    }
  }

  const Program& program_;
  const ConstraintGraph& graph_;
  Timing& timing_;
  const StageCosts& costs_;
  bool shared_;
  Cores cores_;
  std::vector<std::uint8_t> started_, ended_;
  std::vector<std::int32_t> waiters_;  // op -> first sequence that waits for its start or end
  std::vector<std::int32_t> arrived_;  // group -> members
  std::vector<std::int32_t> sequence_, next_, end_, next_waiter_;
  std::vector<OpIndex> order_;
  std::priority_queue<Event, std::vector<Event>, Later> heap_;
};

}  // namespace

std::vector<OpIndex> run_events(const Program& program, const ConstraintGraph& graph, Timing& timing, const StageCosts& costs, const Cluster& cluster) {
  if (EventEngine(program, graph, timing, costs, cluster).run()) return {};
  Untimed visitor;  // who waits for whom does not depend on times
  return sweep(graph, visitor);
}

bool needs_events(const Program& program, const StageCosts& costs, const Cluster& cluster) {
  if (cluster.shares_cores()) return true;
  const bool on_one_machine = std::any_of(cluster.devices.begin(), cluster.devices.end(), [](const DeviceSpec& d) { return !d.cores.empty(); });
  if (!on_one_machine) return false;
  for (Stage s = 0; s < std::min(program.stages(), costs.stages()); ++s) {
    if (costs.overlap(s) && costs.overlap(s)->busy_factor != 1.0) return true;
    for (int k = 0; k < kKinds; ++k) {
      if (costs.at(s, static_cast<Kind>(k)).busy_factor != 1.0) return true;
    }
  }
  return false;
}

}  // namespace bubblescope
