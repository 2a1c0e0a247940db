// When an op may start: its turn, its data, its credit, its host.
#include "sim/engine/timing.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

double years(double nanos) { return nanos / static_cast<double>(kSecond) / (365.25 * 86400); }

}  // namespace

Timing::Timing(const Program& program, const ConstraintGraph& graph, const StageCosts& costs, const Cluster& cluster)
    : program_(program), graph_(graph), costs_(costs), cluster_(cluster), links_(chain_links(program)) {
  if (cluster.ranks() < program.ranks()) {
    throw InputError(fmt::format("the program needs {} ranks, but the cluster '{}' has {}", program.ranks(), cluster.name, cluster.ranks()));
  }
  const std::size_t count = graph.op_count();
  rank_.resize(count);
  imposes_.resize(count);
  duration_.resize(count);
  executed_.resize(count);
  last_.assign(static_cast<std::size_t>(graph.sequences()), -1);
  host_.assign(program.rows.size(), 0);
  // One lookup per (stage, kind); compounds are looked up one by one.
  const bool launching = costs.has_host() || std::any_of(cluster.devices.begin(), cluster.devices.end(), [](const DeviceSpec& d) { return d.launch > 0; });
  if (launching) {
    host_work_.resize(count);
    issue_.resize(count);
    issued_.assign(program.rows.size(), 0);
  }
  constexpr double kMost = 9e17;
  double total = 0;  // all times together bound every point in time
  OpIndex op = 0;
  for (Rank r = 0; r < program.ranks(); ++r) {
    for (const Op& what : program.rows[index(r)]) {
      const std::size_t i = index(op);
      rank_[i] = r;
      imposes_[i] = bubblescope::wait_behind(what.kind);
      const Transfer transfer = graph.transfer[i];
      if (transfer == Transfer::none) {
        if (is_compound(what.kind) || launching) {
          const OpCost cost = costs.of(program, what);
          duration_[i] = cost.duration;
          if (launching) {
            const Nanos launch = cluster.devices[index(r)].launch;
            const double work = static_cast<double>(cost.launches) * static_cast<double>(launch) + static_cast<double>(cost.host);
            total += work;
            if (work < kMost) host_work_[i] = cost.launches * launch + cost.host;  // else it is refused below
          }
        } else {
          duration_[i] = what.stage >= 0 && what.stage < costs.stages() ? costs.at(what.stage, what.kind).duration : 0;
        }
        if (what.kind == Kind::SYNC) duration_[i] += cluster.sync;
        if (what.kind == Kind::ALLREDUCE) duration_[i] += all_reduce(op, what.stage);
      } else {
        const Rank peer = graph.peer[i];
        const bool send = is_send(what.kind);
        const Link& link = send ? cluster.between(r, peer) : cluster.between(peer, r);
        const bool queue = graph.sequence[i] >= 0 && graph.sequence[i] < program.ranks();  // on the compute stream
        const bool staged = queue && link.staging > 0;
        const Nanos wire = link.bandwidth <= 0 || staged ? link.latency : link.transfer(bytes(op, what));
        if (transfer == Transfer::send_occupy || transfer == Transfer::recv_joint) {
          duration_[i] = wire;
        } else if (transfer == Transfer::recv_wait) {
          if (wire_.empty()) wire_.resize(count);
          wire_[i] = wire;
        }
        if (staged && send) {
          if (copy_out_.empty()) copy_out_.resize(count);
          copy_out_[i] = link.copy(bytes(op, what));
        } else if (staged) {
          duration_[i] += link.copy(bytes(op, what));
        }
        total += static_cast<double>(wire);
        if (staged && send) total += static_cast<double>(copy_out_[i]);
      }
      total += static_cast<double>(duration_[i]);
      ++op;
    }
  }
  // Ranks that share cores take longer, at worst as if one did the work of all.
  const bool shared = std::any_of(cluster.devices.begin(), cluster.devices.end(), [](const DeviceSpec& d) { return !d.cores.empty(); });
  const double most = kMost / (shared ? std::max(1, program.ranks()) : 1);
  if (total > most) {
    throw InputError(fmt::format("the ops and transfers of '{}' take {:.3g} years; expected times that add up to less than {:.3g}", program.schedule,
                                 years(total), years(most)));
  }
}

const Op& Timing::op_at(OpIndex op) const {
  const Rank rank = rank_[index(op)];
  return program_.rows[index(rank)][index(op - graph_.offsets[index(rank)])];
}

Nanos Timing::all_reduce(OpIndex op, Stage stage) const {
  const std::int32_t group = graph_.group[index(op)];
  if (group < 0) return 0;
  std::vector<Rank> ring;
  for (const OpIndex member : graph_.members(group)) ring.push_back(locate(graph_.offsets, member).rank);
  return cluster_.all_reduce(ring, gradients(stage));
}

std::int64_t Timing::bytes(OpIndex op, const Op& what) const {
  if (what.kind == Kind::ALLREDUCE) {
    const std::int32_t group = graph_.group[index(op)];
    return group < 0 ? 0 : all_reduce_bytes(graph_.members(group).size(), gradients(what.stage));
  }
  if (!is_send(what.kind) && !is_recv(what.kind)) return 0;
  const Stage stage = boundary_stage(links_, what);
  return stage >= 0 && stage < costs_.stages() ? costs_.bytes(stage).output : 0;
}

Nanos Timing::wire(OpIndex op, const Constraint& constraint) const {
  if (constraint.latency_only) {
    const Rank from = rank_[index(constraint.source)];
    const Rank to = rank_[index(op)];
    return from == to ? 0 : cluster_.between(from, to).latency;
  }
  return wire_.empty() ? 0 : wire_[index(op)];
}

Wait Timing::wait_behind(std::size_t op, std::size_t before) const {
  if (graph_.transfer[op] != Transfer::none && graph_.sequence[op] >= program_.ranks()) return Wait::channel_order;
  const Wait wait = imposes_[before];
  if (wait == Wait::transfer && executed_[before].start == executed_[before].end) return Wait::data;
  return wait;
}

void Timing::issue(OpIndex op) {
  const Rank rank = rank_[index(op)];
  const DeviceSpec& device = cluster_.devices[index(rank)];
  Nanos& host = host_[index(rank)];
  if (device.run_ahead > 0) {
    // The op `run_ahead` places earlier on this stream has ended: streams are in order.
    const std::int32_t ahead = issued_[index(rank)]++ - device.run_ahead;
    if (ahead >= 0) host = std::max(host, executed_[index(graph_.sequence_ops[index(graph_.sequence_first[index(rank)] + ahead)])].end);
  }
  Issue& issue = issue_[index(op)];
  issue.begin = host;
  host += host_work_[index(op)];
  issue.first = issue.begin + std::min<Nanos>(host - issue.begin, device.launch);
  issue.last = host;
}

Nanos Timing::arrive(OpIndex op) {
  const std::size_t i = index(op);
  Executed& run = executed_[i];
  const std::int32_t sequence = graph_.sequence[i];
  Nanos ready = 0;     // everything
  Nanos offered = 0;   // everything but credit
  Nanos turn = 0;
  const OpIndex before = sequence >= 0 ? last_[index(sequence)] : -1;
  if (before >= 0) turn = ready = offered = executed_[index(before)].end;
  OpIndex waited_for = before;
  Wait binding = Wait::nothing;
  for (const Constraint& constraint : graph_.constraints_of(op)) {
    const Executed& source = executed_[index(constraint.source)];
    Nanos time = constraint.from_start ? source.start : source.end;
    Wait wait = constraint.wait;
    if (constraint.wire) {
      const Nanos lag = wire(op, constraint);
      if (lag == 0 && wait == Wait::transfer) wait = Wait::data;
      time += lag;
    } else if (wait == Wait::transfer && source.end == source.start) {
      wait = Wait::data;
    }
    if (time > ready) {
      waited_for = constraint.source;
      binding = wait;
    }
    ready = std::max(ready, time);
    if (constraint.wait != Wait::capacity) offered = std::max(offered, time);
  }
  if (!copy_out_.empty() && copy_out_[i] > 0) {
    offered += copy_out_[i];
    if (offered >= ready) {
      ready = offered;
      binding = Wait::transfer;
    }
  }
  if (!issue_.empty() && sequence >= 0 && sequence < program_.ranks()) {
    issue(op);
    if (issue_[i].first > ready) {
      ready = offered = issue_[i].first;
      binding = Wait::host;
    }
  }
  if (binding == Wait::nothing && before >= 0) binding = wait_behind(i, index(before));
  run.waited_for = waited_for;
  run.wait = binding;
  const Transfer transfer = graph_.transfer[i];
  run.start = transfer == Transfer::send_hold ? offered : ready;
  if (transfer == Transfer::recv_wait) {
    run.start = std::max(turn, ready - wire_[i]);  // the part of the wire time that is still left
  }
  return ready;
}

Nanos Timing::join(std::int32_t group) {
  const auto members = graph_.members(group);
  OpIndex last = members.front();
  for (const OpIndex member : members) {
    if (executed_[index(member)].start > executed_[index(last)].start) last = member;
  }
  const Nanos start = executed_[index(last)].start;
  for (const OpIndex member : members) {
    Executed& run = executed_[index(member)];
    if (run.start < start) {
      run.waited_for = last;
      const Kind kind = op_at(member).kind;
      run.wait = is_send(kind) ? Wait::capacity : is_recv(kind) ? Wait::data : Wait::sync;
    }
    if (graph_.transfer[index(member)] != Transfer::send_hold) run.start = start;
  }
  return start;
}

void Timing::passed(OpIndex op, Nanos end) {
  executed_[index(op)].end = end;
  const std::int32_t sequence = graph_.sequence[index(op)];
  if (sequence >= 0) last_[index(sequence)] = op;
}

}  // namespace bubblescope
