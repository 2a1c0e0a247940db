// Events' times, op by op.
#include "backend/stream_times.hpp"

#include <algorithm>
#include <utility>

#include "backend/records.hpp"
#include "sim/core/cluster.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

class Reader {
 public:
  Reader(const StreamRun& run, std::span<const StreamRecord> records) : run_(run), plan_(run.plan), records_(records), executed_(plan_.graph.op_count()) {}

  std::vector<Executed> read() {
    for (OpIndex op = 0; op < static_cast<OpIndex>(executed_.size()); ++op) {
      if (plan_.follows_send(op) || !run_.has(op, StreamRun::end)) continue;
      executed_[at(op)].start = run_.streams.time(plan_.start_event(op));
      executed_[at(op)].end = run_.streams.time(plan_.end_event(op));
    }
    for (const StreamLane& lane : plan_.lanes) {
      OpIndex before = -1;
      for (const OpIndex op : lane.ops) {
        if (executed_[at(op)].end < 0) continue;
        explain(op, before);
        before = op;
      }
    }
    for (OpIndex op = 0; op < static_cast<OpIndex>(executed_.size()); ++op) {
      if (plan_.follows_send(op)) follow(op);
      else if (plan_.graph.sequence[at(op)] < 0 && executed_[at(op)].end >= 0) explain(op, -1);
    }
    return std::move(executed_);
  }

 private:
  Nanos happened(const StreamWait& wait) const { return wait.from_start ? executed_[at(wait.source)].start : executed_[at(wait.source)].end; }
  Kind kind(OpIndex op) const { return run_.program.rows[at(plan_.rank[at(op)])][at(op - plan_.graph.offsets[at(plan_.rank[at(op)])])].kind; }

  /// What `op` waited for last, `before` being the op before it on its lane.
  void explain(OpIndex op, OpIndex before) {
    Executed& run = executed_[at(op)];
    Nanos turn = 0, offered = 0, ready = 0;
    if (before >= 0) {
      turn = offered = ready = executed_[at(before)].end;
      run.waited_for = before;
      const bool transfer = plan_.graph.transfer[at(op)] != Transfer::none && plan_.graph.sequence[at(op)] >= run_.program.ranks();
      run.wait = transfer ? Wait::channel_order : wait_behind(kind(before));
    }
    for (const Constraint& constraint : plan_.graph.constraints_of(op)) {
      const StreamWait wait{plan_.with_events(constraint.source), constraint.from_start};
      const Nanos time = happened(wait);
      if (constraint.wait != Wait::capacity) offered = std::max(offered, time);
      if (time <= ready) continue;
      ready = time;
      run.waited_for = wait.source;
      run.wait = constraint.wait == Wait::data && wait.source != constraint.source ? Wait::transfer : constraint.wait;
    }
    if (const std::int32_t group = plan_.graph.group[at(op)]; group >= 0) {
      for (const OpIndex member : plan_.graph.members(group)) {
        const Nanos time = run_.streams.time(plan_.arrival_event(member));
        if (member == op || time <= ready) continue;
        ready = time;
        run.waited_for = member;
        run.wait = is_send(kind(op)) ? Wait::capacity : is_recv(kind(op)) ? Wait::data : Wait::sync;
      }
    }
    if (run_.streams.host_counts() && issued(op) > ready) {
      run.wait = Wait::host;
      offered = std::max(offered, issued(op));
    }
    if (plan_.graph.transfer[at(op)] == Transfer::send_hold) run.start = std::min(run.start, offered);
    if (plan_.graph.transfer[at(op)] == Transfer::recv_wait) {
      // Of the transfer, which the send carries, the part that came after the receive's turn.
      const OpIndex send = plan_.sends_to[at(op)];
      run.start = std::min(run.end, std::max(turn, transfer_start(send)));
    }
  }

  /// When the carrying began: of a send that held its rank, at its acceptance.
  Nanos transfer_start(OpIndex send) const { return run_.streams.time(plan_.start_event(send)); }

  /// A receive in no FIFO: the transfer itself.
  void follow(OpIndex op) {
    const OpIndex send = plan_.sends_to[at(op)];
    if (send < 0 || executed_[at(send)].end < 0) return;
    executed_[at(op)] = {transfer_start(send), executed_[at(send)].end, send, Wait::data};
  }

  Nanos issued(OpIndex op) const {
    const Rank rank = plan_.rank[at(op)];
    return records_[at(rank)].issue[at(op - plan_.graph.offsets[at(rank)])].first;
  }

  const StreamRun& run_;
  const StreamPlan& plan_;
  std::span<const StreamRecord> records_;
  std::vector<Executed> executed_;
};

std::int64_t bytes_moved(const StreamRun& run, OpIndex op, const Op& what) {
  if (is_send(what.kind)) return run.bytes[at(run.plan.message[at(op)])];
  if (is_recv(what.kind)) {
    const OpIndex send = run.plan.sends_to[at(op)];
    return send < 0 ? 0 : run.bytes[at(run.plan.message[at(send)])];
  }
  const std::int32_t group = run.plan.graph.group[at(op)];
  if (what.kind != Kind::ALLREDUCE || group < 0) return 0;
  return all_reduce_bytes(run.plan.graph.members(group).size(), run.meetings[at(group)].bytes);
}

}  // namespace

std::vector<Executed> stream_times(const StreamRun& run, std::span<const StreamRecord> records) { return Reader(run, records).read(); }

std::vector<std::int32_t> spans_of_ops(const StreamRun& run) {
  std::vector<std::int32_t> spans(run.plan.graph.op_count(), -1);
  std::int32_t next = 0;
  for (OpIndex op = 0; op < static_cast<OpIndex>(spans.size()); ++op) {
    const OpIndex carrier = run.plan.with_events(op);
    if (carrier >= 0 && run.has(carrier, StreamRun::end)) spans[at(op)] = next++;
  }
  return spans;
}

Timeline stream_timeline(const StreamRun& run, std::span<const StreamRecord> records) {
  const std::vector<Executed> executed = stream_times(run, records);
  Timeline timeline = executed_timeline(run.program, "measured", executed, [&run](OpIndex op, const Op& what) { return bytes_moved(run, op, what); });
  drop_unrun(timeline);
  const bool memory = std::any_of(records.begin(), records.end(), [](const StreamRecord& record) { return !record.memory.empty(); });
  if (memory) {
    std::vector<std::vector<MemorySample>> entries(records.size());
    for (std::size_t message = 0; message < run.bytes.size(); ++message) {
      const OpIndex send = run.plan.send_of[message], user = run.plan.taken_by[message];
      if (send < 0 || user < 0 || executed[at(send)].end < 0 || executed[at(user)].end < 0) continue;
      auto& changes = entries[at(run.plan.rank[at(user)])];
      changes.push_back({executed[at(send)].end, run.bytes[message]});
      changes.push_back({std::max(executed[at(send)].end, executed[at(user)].start), -run.bytes[message]});
    }
    for (std::size_t r = 0; r < records.size(); ++r) {
      std::vector<MemorySample> held;
      for (const auto& [op, use] : records[r].memory) {
        held.push_back({executed[at(op)].start, std::max(use.peak, use.now)});
        held.push_back({executed[at(op)].end, use.now});
      }
      timeline.memory.push_back(held.empty() ? held : with_entries(held, std::move(entries[r])));
    }
  }
  if (!run.streams.host_counts()) return timeline;
  Tracks tracks(timeline);
  for (Rank r = 0; r < run.program.ranks(); ++r) {
    const auto& issue = records[at(r)].issue;
    for (std::size_t i = 0; i < issue.size(); ++i) {
      const auto& [began, ended] = issue[i];
      if (ended > began) add_launch(timeline, tracks, r, run.program, run.program.rows[at(r)][i], began, ended);
    }
  }
  return timeline;
}

}  // namespace bubblescope
