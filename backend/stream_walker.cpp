// Issuing: what may be issued, in which words, and what the work itself does.
#include "backend/stream_walker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <optional>

#include "backend/nvtx.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {

StreamRun::StreamRun(const Program& unrolled, const Program& one, const StreamPlan& streams_plan, Streams& on, std::span<Bell> rank_bells, RunControl& run_control, const ExecuteOptions& how, KernelActivity* kernel_activity)
    : program(unrolled), walk(one), plan(streams_plan), streams(on), bells(rank_bells), control(run_control), options(how), kernels(kernel_activity), issued(plan.graph.op_count()),
      payloads(plan.plan.messages.size()), bytes(plan.plan.messages.size(), 0), meetings(plan.graph.group_first.empty() ? 0 : plan.graph.group_first.size() - 1) {
  for (std::size_t g = 0; g < meetings.size(); ++g) {
    const std::size_t members = plan.graph.members(static_cast<std::int32_t>(g)).size();
    meetings[g].contributions.resize(members);
    meetings[g].left = static_cast<std::int32_t>(members);
  }
}

StreamWalker::StreamWalker(StreamRun& run, Rank rank, Device& device, StreamRecord& record)
    : run_(run), rank_(rank), device_(device), record_(record), first_(run.plan.graph.offsets[at(rank)]) {
  for (const std::int32_t lane : run.plan.lanes_of[at(rank)]) {
    if (!run.plan.lanes[at(lane)].ops.empty()) cursors_.push_back({lane});
  }
  record_.issue.resize(run.program.rows[at(rank)].size());
}

const Op& StreamWalker::op_at(OpIndex op) const { return run_.program.rows[at(rank_)][at(op - first_)]; }

Op StreamWalker::numbered(Op op) const {
  op.iteration += run_.options.first_iteration;
  return op;
}

std::string StreamWalker::named(OpIndex op) const {
  return fmt::format("rank {}, {}, iteration {}", rank_, cell(run_.program, op_at(op)), numbered(op_at(op)).iteration);
}

void StreamWalker::walk() {
  try {
    issue_all();
    for (const std::int32_t lane : run_.plan.lanes_of[at(rank_)]) {
      // What a lane was given last is done last.
      for (auto op = run_.plan.lanes[at(lane)].ops.rbegin(); op != run_.plan.lanes[at(lane)].ops.rend(); ++op) {
        if (!run_.has(*op, StreamRun::end)) continue;
        run_.streams.await(run_.plan.end_event(*op));
        break;
      }
    }
    for (const OpIndex op : issued_free_) run_.streams.await(run_.plan.end_event(op));
    const KernelScope none(run_.kernels, -1);  // of no op
    if (!run_.control.failed()) device_.settle();
  } catch (const Aborted&) {
  } catch (const std::exception& error) {
    run_.control.fail(fmt::format("rank {}: {}", rank_, error.what()));
  } catch (...) {
    run_.control.fail(fmt::format("rank {}: an error of unknown type", rank_));
  }
}

void StreamWalker::issue_all() {
  const Bell& bell = run_.bells[at(rank_)];
  while (true) {
    const int ticket = bell.ticket();
    if (run_.control.failed()) throw Aborted{};
    bool came_on = advance_free(), left = false;
    for (Cursor& cursor : cursors_) {
      came_on = advance(cursor) || came_on;
      left = left || cursor.next < run_.plan.lanes[at(cursor.lane)].ops.size();
    }
    left = left || !free_.empty();  // some that the cursors have just added, maybe
    if (!left) return;
    if (!came_on) bell.wait(ticket, 0);
  }
}

bool StreamWalker::cut_off(OpIndex op) const { return op_at(op).iteration / run_.walk.iterations >= run_.control.walks(); }

bool StreamWalker::advance(Cursor& cursor) {
  const auto& ops = run_.plan.lanes[at(cursor.lane)].ops;
  if (cursor.next == ops.size()) return false;
  const OpIndex op = ops[cursor.next];
  if (run_.plan.lanes[at(cursor.lane)].spec.kind == StreamKind::compute) {
    // The last walk that some rank has begun is every rank's last once the run is to stop.
    const std::int64_t walk = op_at(op).iteration / run_.walk.iterations;
    while (begun_ < walk && run_.control.begin(begun_ + 1, run_.bells[at(rank_)], 0)) ++begun_;
  }
  if (cut_off(op)) {
    ++cursor.next;
    return true;
  }
  const std::int32_t group = run_.plan.graph.group[at(op)];
  if (group >= 0) {
    const bool arrived = run_.has(op, StreamRun::arrival);
    if (!arrived) {
      if (!issuable(op)) return false;
      arrive(op, cursor.lane);
    }
    const OpIndex send = run_.plan.sends_to[at(op)];
    if (!all_arrived(group) || (send >= 0 && !run_.has(send, StreamRun::end))) return !arrived;
  } else if (!issuable(op)) {
    return false;
  }
  issue(op, cursor.lane);
  ++cursor.next;
  if (cursor.lane == run_.plan.lanes_of[at(rank_)].front()) keep_in_reach(op);
  return true;
}

bool StreamWalker::advance_free() {
  const auto waits = std::partition(free_.begin(), free_.end(), [this](OpIndex op) { return issuable(op); });
  const std::vector<OpIndex> now(free_.begin(), waits);
  free_.erase(free_.begin(), waits);
  for (const OpIndex op : now) {
    issue(op, run_.plan.lane[at(op)]);
    issued_free_.push_back(op);
  }
  return !now.empty();
}

bool StreamWalker::issuable(OpIndex op) const {
  for (const StreamWait& wait : run_.plan.waits.of(op)) {
    if (!run_.has(wait.source, wait.from_start ? StreamRun::start : StreamRun::end)) return false;
  }
  return true;
}

bool StreamWalker::all_arrived(std::int32_t group) const {
  for (const OpIndex member : run_.plan.graph.members(group)) {
    if (!run_.has(member, StreamRun::arrival)) return false;
  }
  return true;
}

void StreamWalker::publish(OpIndex op, std::uint8_t what) {
  run_.issued[at(op)].fetch_or(what, std::memory_order_acq_rel);
  for (const Rank rank : run_.plan.listeners.of(op)) run_.bells[at(rank)].ring();
}

void StreamWalker::arrive(OpIndex op, std::int32_t lane) {
  for (const StreamWait& wait : run_.plan.waits.of(op)) run_.streams.wait(lane, wait.from_start ? run_.plan.start_event(wait.source) : run_.plan.end_event(wait.source));
  if (is_collective(op_at(op).kind)) {
    const std::int32_t group = run_.plan.graph.group[at(op)];
    const auto members = run_.plan.graph.members(group);
    const auto place = std::find(members.begin(), members.end(), op) - members.begin();
    run_.streams.submit(lane, [this, op, group, place] {
      if (run_.control.failed()) return;
      try {
        const KernelScope scope(run_.kernels, op);
        run_.meetings[at(group)].contributions[at(place)] = device_.contribution(numbered(op_at(op)));
      } catch (const std::exception& error) {
        run_.control.fail(fmt::format("{}: {}", named(op), error.what()));
      }
    });
  }
  run_.streams.record(lane, run_.plan.arrival_event(op));
  publish(op, StreamRun::arrival);
}

void StreamWalker::issue(OpIndex op, std::int32_t lane) {
  const Step* step = run_.plan.step[at(op)];
  std::optional<NvtxRange> range;
  if (step != nullptr) range.emplace(step->nvtx, step->op.kind, numbered(step->op).iteration);
  auto& [began, ended] = record_.issue[at(op - first_)];
  began = steady_now();
  if (const std::int32_t group = run_.plan.graph.group[at(op)]; group >= 0) {
    for (const OpIndex member : run_.plan.graph.members(group)) {
      if (member != op) run_.streams.wait(lane, run_.plan.arrival_event(member));
    }
  } else {
    for (const StreamWait& wait : run_.plan.waits.of(op)) run_.streams.wait(lane, wait.from_start ? run_.plan.start_event(wait.source) : run_.plan.end_event(wait.source));
  }
  run_.streams.record(lane, run_.plan.start_event(op));
  publish(op, StreamRun::start);
  if (is_recv(op_at(op).kind)) {
    // Of a rendezvous: the send carries what both have started together.
    if (run_.plan.graph.group[at(op)] >= 0) run_.streams.wait(lane, run_.plan.end_event(run_.plan.sends_to[at(op)]));
  } else {
    run_.streams.submit(lane, [this, op] {
      if (run_.control.failed()) return;
      try {
        const KernelScope scope(run_.kernels, op);
        work(op);
      } catch (const std::exception& error) {
        run_.control.fail(fmt::format("{}: {}", named(op), error.what()));
      }
    });
  }
  run_.streams.record(lane, run_.plan.end_event(op));
  ended = steady_now();
  publish(op, StreamRun::end);
  for (const std::int32_t message : run_.plan.gives.of(op)) {
    if (const OpIndex send = run_.plan.send_of[at(message)]; run_.plan.graph.sequence[at(send)] < 0) free_.push_back(send);
  }
}

void StreamWalker::work(OpIndex op) {
  const Op& what = op_at(op);
  if (const std::int32_t message = run_.plan.message[at(op)]; message >= 0) {
    const EdgePlan& edge = run_.plan.plan.edges[at(run_.plan.plan.messages[at(message)].edge)];
    run_.payloads[at(message)] = run_.streams.carry(std::move(run_.payloads[at(message)]), edge.from, edge.to);
    return;
  }
  if (is_collective(what.kind)) {
    const std::int32_t group = run_.plan.graph.group[at(op)];
    if (group < 0) {  // nobody else is there
      const Payload own = device_.contribution(numbered(what));
      device_.reduced(numbered(what), {&own, 1});
      return;
    }
    StreamRun::Meeting& meeting = run_.meetings[at(group)];
    if (run_.plan.graph.members(group).front() == op) meeting.bytes = meeting.contributions.front().bytes;
    device_.reduced(numbered(what), meeting.contributions);
    if (meeting.left.fetch_sub(1) == 1) meeting.contributions.clear();
    return;
  }
  compute(*run_.plan.step[at(op)], op);
}

void StreamWalker::compute(const Step& step, OpIndex op) {
  for (const std::int32_t message : step.takes) {
    device_.input(numbered(run_.plan.plan.messages[at(message)].recv), std::move(run_.payloads[at(message)]));
  }
  if (is_compound(step.op.kind)) {
    std::vector<Op> parts;
    for (const Op& part : step.parts) parts.push_back(numbered(part));
    device_.execute_compound(step.op.kind, parts);
  } else {
    device_.execute(numbered(step.op));
  }
  for (const std::int32_t message : run_.plan.gives.of(op)) {
    Payload payload = device_.output(numbered(run_.plan.plan.messages[at(message)].send));
    run_.bytes[at(message)] = payload.bytes;
    run_.payloads[at(message)] = std::move(payload);
  }
  if (!run_.options.record || !samples_memory_) return;
  const MemoryUse use = device_.memory();
  samples_memory_ = use.now >= 0;
  if (samples_memory_) record_.memory.push_back({op, use});
}

/// The host stays so many ops before its device. What an op waits for was issued before it, so this ends.
void StreamWalker::keep_in_reach(OpIndex op) {
  computed_.push_back(op);
  const auto ahead = static_cast<std::size_t>(std::max(1, run_.options.run_ahead));
  if (computed_.size() > ahead) run_.streams.await(run_.plan.end_event(computed_[computed_.size() - 1 - ahead]));
  const bool ends_walk = static_cast<std::size_t>(op - first_) + 1 == run_.program.rows[at(rank_)].size() || op_at(op + 1).iteration / run_.walk.iterations > op_at(op).iteration / run_.walk.iterations;
  if (rank_ == 0 && ends_walk && run_.options.progress) run_.options.progress(numbered(op_at(op)).iteration);
}

}  // namespace bubblescope
