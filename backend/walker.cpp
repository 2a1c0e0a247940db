// What a rank does at each step, what it waits for there, and what it records.
#include "backend/walker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "backend/world.hpp"

namespace bubblescope {

Walker::Walker(Run& run, Rank rank, Device& device, RankRecord& record)
    : run_(run), rank_(rank), device_(device), record_(record), steps_(run.plan.ranks[static_cast<std::size_t>(rank)]),
      bell_(run.bells[static_cast<std::size_t>(rank)]) {}

void Walker::reserve() {
  std::size_t most_parts = 1, takes = 0;
  for (const Step& step : steps_) {
    most_parts = std::max(most_parts, step.parts.size());
    takes += step.takes.size();
  }
  parts_.reserve(most_parts);
  if (!run_.options.record) return;
  const auto walks = static_cast<std::size_t>(std::max(0, run_.options.iterations));
  record_.spans.reserve((steps_.size() + takes) * walks);
  record_.deliveries.reserve(takes * walks);
  record_.memory.reserve(2 * steps_.size() * walks);
  samples_memory_ = true;
}

void Walker::walk() {
  try {
    reserve();
    run_.meetings.arrive(run_.start, 0, rank_, {}, steady_now(), {});
    MeetingResult released;
    run_.control.await(bell_, run_.spin, [&] { return run_.meetings.complete(run_.start, 0, released); });
    for (walk_ = 0; run_.control.begin(walk_, bell_, run_.spin); ++walk_) {
      for (const Step& step : steps_) {
        // The next walk's barriers take the place of those of a drain.
        if (step.late && (walk_ == 0 || step.op.kind == Kind::SYNC)) continue;
        take(step);
      }
      step_ = nullptr;
      own_ = walk_;
      if (rank_ == 0 && run_.options.progress) run_.options.progress(first_of_walk(walk_ + 1) - 1);
    }
    run_.channels.finish(rank_, walk_);
    for (const Step& step : steps_) {
      if (step.late && walk_ > 0) take(step);
    }
    step_ = nullptr;
  } catch (const Aborted&) {
  } catch (const LostError& error) {
    run_.control.told_failure(error.what());
  } catch (const std::exception& error) {
    fail(error.what());
  } catch (...) {
    fail("an error of unknown type");
  }
}

std::int32_t Walker::first_of_walk(std::int64_t walk) const {
  return run_.options.first_iteration + static_cast<std::int32_t>(walk) * run_.program.iterations;
}

void Walker::fail(const std::string& what) {
  if (step_ == nullptr && walk_ == 0) {
    run_.control.fail(fmt::format("rank {}, before its first op: {}", rank_, what));
  } else if (step_ == nullptr) {
    run_.control.fail(fmt::format("rank {}, after iteration {}: {}", rank_, first_of_walk(walk_ + 1) - 1, what));
  } else {
    run_.control.fail(fmt::format("rank {}, op {} ({}), iteration {}: {}", rank_, step_->position, cell(run_.program, step_->op),
                                  numbered(step_->op).iteration, what));
  }
}

Op Walker::numbered(Op op) const {
  op.iteration += first_of_walk(own_);
  return op;
}

NvtxRange Walker::annotate(const Step& step) const { return NvtxRange(step.nvtx, step.op.kind, numbered(step.op).iteration); }

SpanRef Walker::begin_span(Op op, Nanos start) {
  if (!recording_) return {};
  op.iteration += static_cast<std::int32_t>(own_ - run_.options.warmup) * run_.program.iterations;
  record_.spans.push_back({start, start, op, waited_for_, wait_, 0, -1});
  return {rank_, static_cast<std::int32_t>(record_.spans.size()) - 1};
}

void Walker::waited(Wait wait, SpanRef span) {
  wait_ = wait;
  waited_for_ = span;
}

void Walker::sample_memory(Nanos start, Nanos end) {
  if (!samples_memory_) return;
  const MemoryUse use = device_.memory();
  samples_memory_ = use.now >= 0;
  if (use.now < 0) return;
  record_.memory.push_back({start, std::max(use.peak, use.now)});
  record_.memory.push_back({end, use.now});
}

void Walker::take(const Step& step) {
  step_ = &step;
  own_ = walk_of(step);
  run_.places[static_cast<std::size_t>(rank_)].store(place_of(own_, &step - steps_.data()), std::memory_order_relaxed);
  recording_ = run_.options.record && own_ >= run_.options.warmup;
  switch (step.action) {
    case Action::compute: return compute(step);
    case Action::send: return send(step);
    case Action::receive: return receive(step);
    case Action::meet: return meet(step);
  }
}

const EdgePlan& Walker::edge_of(std::int32_t message) const {
  return run_.plan.edges[static_cast<std::size_t>(run_.plan.messages[static_cast<std::size_t>(message)].edge)];
}

bool Walker::await_data(std::int32_t message, Delivery& delivery) {
  bool blocked = run_.control.await(bell_, run_.spin, [&] {
    delivery = run_.channels.delivery(message, own_);
    return delivery.received;
  });
  if (delivery.wire > 0 && delivery.available > steady_now()) {
    run_.control.sleep_until(delivery.available);
    blocked = true;
  }
  return blocked;
}

void Walker::compute(const Step& step) {
  for (const std::int32_t message : step.takes) {
    Delivery delivery;
    const bool blocked = await_data(message, delivery);
    if (!recording_) continue;
    record_.deliveries.push_back(delivery);
    const Message& what = run_.plan.messages[static_cast<std::size_t>(message)];
    if (edge_of(message).rules.receive == Receive::posted) receive_posted(what, delivery, blocked);
  }
  const Nanos start = steady_now();
  const SpanRef own = begin_span(step.op, start);
  if (recording_) {
    for (auto delivery = record_.deliveries.end() - static_cast<std::ptrdiff_t>(step.takes.size()); delivery != record_.deliveries.end(); ++delivery) delivery->taken = start;
  }
  for (const std::int32_t message : step.takes) {
    Payload payload = run_.channels.take(message, own_, start, own);
    device_.input(numbered(run_.plan.messages[static_cast<std::size_t>(message)].recv), std::move(payload));
  }
  run_op(step);
  if (own.index < 0) return;
  const Nanos end = steady_now();
  span(own).end = end;
  span(own).name = step.name;
  waited(Wait::stream, own);
  sample_memory(start, end);
}

void Walker::run_op(const Step& step) {
  const NvtxRange range = annotate(step);  // leaves out what the op waited for
  if (!is_compound(step.op.kind)) {
    device_.execute(numbered(step.op));
    return;
  }
  parts_.clear();
  for (const Op& part : step.parts) parts_.push_back(numbered(part));
  device_.execute_compound(step.op.kind, parts_);
}

/// The span of a receive that was posted: its transfer and, where the rank waited, until it had noticed.
void Walker::receive_posted(const Message& message, const Delivery& delivery, bool blocked) {
  const SpanRef own = begin_span(message.recv, delivery.start);
  Record& received = span(own);
  received.end = blocked ? std::max(delivery.available, steady_now()) : delivery.available;
  received.bytes = delivery.bytes;
  const bool behind = delivery.wait == Wait::channel_order;
  received.wait = behind ? Wait::channel_order : Wait::data;
  received.waited_for = behind ? delivery.waited_for : delivery.send;
  if (blocked) waited(Wait::transfer, own);
}

void Walker::send(const Step& step) {
  const NvtxRange range = annotate(step);
  Payload payload = device_.output(numbered(step.op));
  const EdgePlan& edge = edge_of(step.message);
  const bool holding = edge.rules.send == Send::holding;
  if (const Nanos copy = holding ? edge.link.copy(payload.bytes) : 0; copy > 0) {
    run_.control.sleep_until(steady_now() + copy);
    wait_ = Wait::transfer;
  }
  const Nanos now = steady_now();
  const SpanRef own = begin_span(step.op, now);
  if (own.index >= 0) {
    span(own).bytes = payload.bytes;
    if (!holding) span(own).wait = Wait::data;
  }
  run_.channels.offer(step.message, own_, std::move(payload), now, own);
  if (!holding) return;
  Delivery delivery;
  bool blocked = run_.control.await(bell_, run_.spin, [&] {
    delivery = run_.channels.delivery(step.message, own_);
    return delivery.accepted;
  });
  if (delivery.start > steady_now()) {
    run_.control.sleep_until(delivery.start);
    blocked = true;
  }
  if (blocked) waited(Wait::capacity, own);
}

void Walker::receive(const Step& step) {
  const NvtxRange range = annotate(step);
  const Nanos now = steady_now();
  const SpanRef own = begin_span(step.op, now);
  run_.channels.arrive(step.message, own_, now, own);
  Delivery delivery;
  bool blocked = await_data(step.message, delivery);
  if (const Nanos copy = edge_of(step.message).link.copy(delivery.bytes); copy > 0) {
    run_.control.sleep_until(std::max(now, delivery.available) + copy);
    blocked = true;
  }
  if (own.index < 0) return;
  Record& received = span(own);
  received.start = std::max(now, delivery.start);
  received.end = std::max(received.start, delivery.available);
  received.bytes = delivery.bytes;
  if (!blocked) return;
  received.end = std::max(received.end, steady_now());
  received.wait = Wait::data;
  received.waited_for = delivery.send;
  waited(Wait::transfer, own);
}

void Walker::meet(const Step& step) {
  const NvtxRange range = annotate(step);
  const Op op = numbered(step.op);
  Payload contribution = device_.contribution(op);
  const std::int64_t bytes = contribution.bytes;
  const Nanos now = steady_now();
  const SpanRef own = begin_span(step.op, now);
  run_.meetings.arrive(step.group, own_, rank_, std::move(contribution), now, own);
  MeetingResult result;
  const bool blocked = run_.control.await(bell_, run_.spin, [&] { return run_.meetings.complete(step.group, own_, result); });
  const std::vector<Rank>& members = run_.plan.groups[static_cast<std::size_t>(step.group)].members;
  const Cluster& network = run_.options.network;
  const bool reduces = op.kind == Kind::ALLREDUCE;
  const Nanos imitated = !reduces ? network.sync : network.ranks() > 0 ? network.all_reduce(members, bytes) : 0;
  if (imitated > 0) run_.control.sleep_until(result.last + imitated);
  device_.reduced(op, *result.contributions);
  if (own.index < 0) return;
  Record& met = span(own);
  if (reduces) met.bytes = all_reduce_bytes(members.size(), bytes);
  met.start = std::max(now, result.last);
  met.end = steady_now();
  if (blocked && result.latest.rank != rank_) {
    met.wait = Wait::sync;
    met.waited_for = result.latest;
  }
  waited(Wait::sync, own);
}

}  // namespace bubblescope
