// The channels' state machine: a transfer starts when both of its sides have their turn, its data is
// there and there is room; each event moves on whatever it makes possible.
#include "backend/channels.hpp"

#include <algorithm>
#include <utility>

#include "sim/core/index.hpp"

namespace bubblescope {

Channels::Channels(const Plan& plan, std::span<Bell> bells)
    : plan_(plan), bells_(bells), edges_(plan.edges.size()), fifos_(plan.fifos.size()) {
  for (std::size_t e = 0; e < edges_.size(); ++e) edges_[e].ring.resize(std::max<std::size_t>(4, 2 * plan.edges[e].messages.size()));
  for (std::size_t f = 0; f < fifos_.size(); ++f) skip(static_cast<std::int32_t>(f));
  work_.reserve(16);
}

Channels::Rings::~Rings() {
  for (std::size_t i = 0; i < count_; ++i) bells_[at(ranks_[i])].ring();
}

void Channels::Rings::add(Rank rank) {
  if (count_ == ranks_.size()) {
    bells_[at(rank)].ring();
  } else {
    ranks_[count_++] = rank;
  }
}

std::int64_t Channels::number(const Transfer& transfer) const {
  const Message& message = plan_.messages[at(transfer.message)];
  return transfer.walk * static_cast<std::int64_t>(plan_.edges[at(message.edge)].messages.size()) + message.order;
}

Channels::Entry* Channels::find(Edge& edge, std::int64_t number) {
  return number >= edge.base && number < edge.end ? &edge.ring[at(number) % edge.ring.size()] : nullptr;
}

Channels::Entry& Channels::entry(Edge& edge, std::int64_t number) {
  if (at(number - edge.base) >= edge.ring.size()) {
    std::vector<Entry> larger(std::max(2 * edge.ring.size(), at(number - edge.base) + 1));
    for (std::int64_t n = edge.base; n < edge.end; ++n) larger[at(n) % larger.size()] = std::move(edge.ring[at(n) % edge.ring.size()]);
    edge.ring = std::move(larger);
  }
  edge.end = std::max(edge.end, number + 1);
  return edge.ring[at(number) % edge.ring.size()];
}

void Channels::offer(std::int32_t message, std::int64_t walk, Payload payload, Nanos now, SpanRef send) {
  Rings rings(bells_);
  const std::lock_guard lock(mutex_);
  const Transfer transfer{message, walk};
  const std::int32_t edge = plan_.messages[at(message)].edge;
  Entry& e = entry(edges_[at(edge)], number(transfer));
  e.offered = true;
  e.state.offered = now;
  e.state.bytes = payload.bytes;
  const EdgePlan& plan = plan_.edges[at(edge)];
  e.state.wire = plan.rules.receive == Receive::at_use ? plan.link.queue_transfer(payload.bytes) : plan.link.transfer(payload.bytes);
  e.state.send = send;
  e.payload = std::move(payload);
  work_.push_back(transfer);
  advance(rings);
}

void Channels::arrive(std::int32_t message, std::int64_t walk, Nanos now, SpanRef recv) {
  Rings rings(bells_);
  const std::lock_guard lock(mutex_);
  const Transfer transfer{message, walk};
  Entry& e = entry(edges_[at(plan_.messages[at(message)].edge)], number(transfer));
  e.arrived = true;
  e.arrived_at = now;
  e.recv = recv;
  work_.push_back(transfer);
  advance(rings);
}

Delivery Channels::delivery(std::int32_t message, std::int64_t walk) {
  const std::lock_guard lock(mutex_);
  Edge& edge = edges_[at(plan_.messages[at(message)].edge)];
  const std::int64_t n = number({message, walk});
  const Entry* e = find(edge, n);
  if (e != nullptr) return e->state;
  Delivery gone;
  gone.accepted = gone.received = n < edge.base;
  return gone;
}

Payload Channels::take(std::int32_t message, std::int64_t walk, Nanos now, SpanRef consumer) {
  Rings rings(bells_);
  const std::lock_guard lock(mutex_);
  const std::int32_t which = plan_.messages[at(message)].edge;
  Edge& edge = edges_[at(which)];
  const EdgePlan& plan = plan_.edges[at(which)];
  const std::int64_t n = number({message, walk});
  Entry& e = entry(edge, n);
  e.consumed = true;
  e.consumed_at = now;
  e.consumer = consumer;
  Payload payload = std::move(e.payload);
  if (plan.rules.capacity > 0) {
    const auto count = static_cast<std::int64_t>(plan.messages.size());
    const std::int64_t freed = n + plan.rules.capacity;
    work_.push_back({plan.messages[at(freed % count)], freed / count});
    advance(rings);
  }
  drop_used(edge, plan.rules.capacity);
  return payload;
}

void Channels::drop_used(Edge& edge, std::int32_t capacity) {
  while (edge.base < edge.end) {
    Entry& first = edge.ring[at(edge.base) % edge.ring.size()];
    if (!first.consumed) return;
    // The entry that waits for this one's credit still needs to know when it came.
    if (capacity > 0) {
      const Entry* waiting = find(edge, edge.base + capacity);
      if (waiting == nullptr || !waiting->state.accepted) return;
    }
    first = Entry{};
    ++edge.base;
  }
}

void Channels::finish(Rank rank, std::int64_t walks) {
  Rings rings(bells_);
  const std::lock_guard lock(mutex_);
  for (std::size_t f = 0; f < fifos_.size(); ++f) {
    if (plan_.fifos[f].rank != rank) continue;
    fifos_[f].walks = walks;
    skip(static_cast<std::int32_t>(f));
    work_.push_back(head_of(static_cast<std::int32_t>(f)));
  }
  advance(rings);
}

/// The transfer at a FIFO's head; of a walk that there is not where none is left.
Channels::Transfer Channels::head_of(std::int32_t fifo) const {
  const auto& entries = plan_.fifos[at(fifo)].entries;
  const std::int64_t head = fifos_[at(fifo)].head;
  const auto count = static_cast<std::int64_t>(entries.size());
  const FifoPlan::Entry& first = entries[at(head % count)];
  return {first.message, head / count - (first.late ? 1 : 0)};
}

/// Passes over entries of the walk before the first and of those after the last.
void Channels::skip(std::int32_t fifo) {
  Queue& queue = fifos_[at(fifo)];
  const auto count = static_cast<std::int64_t>(plan_.fifos[at(fifo)].entries.size());
  while (queue.head / count <= queue.walks) {
    const std::int64_t walk = head_of(fifo).walk;
    if (walk >= 0 && walk < queue.walks) return;
    ++queue.head;
  }
}

bool Channels::at_head(std::int32_t fifo, const Transfer& transfer, bool send) const {
  const auto& entries = plan_.fifos[at(fifo)].entries;
  const Transfer head = head_of(fifo);
  return head.walk == transfer.walk && head.message == transfer.message && entries[at(fifos_[at(fifo)].head) % entries.size()].send == send;
}

void Channels::pass(std::int32_t fifo, Nanos free, SpanRef last) {
  Queue& queue = fifos_[at(fifo)];
  queue.free = free;
  queue.last = last;
  ++queue.head;
  skip(fifo);
  work_.push_back(head_of(fifo));
}

void Channels::advance(Rings& rings) {
  while (!work_.empty()) {
    const Transfer transfer = work_.back();
    work_.pop_back();
    if (transfer.walk < 0) continue;
    Entry* e = find(edges_[at(plan_.messages[at(transfer.message)].edge)], number(transfer));
    if (e == nullptr || !e->offered) continue;
    if (!e->state.accepted) try_accept(transfer, *e, rings);
    if (e->state.accepted && !e->state.received) try_receive(transfer, *e, rings);
  }
}

void Channels::try_accept(const Transfer& transfer, Entry& e, Rings& rings) {
  const Message& message = plan_.messages[at(transfer.message)];
  const EdgePlan& plan = plan_.edges[at(message.edge)];
  const Channel& rules = plan.rules;
  Edge& edge = edges_[at(message.edge)];
  const bool eager = rules.eager_bytes > 0 && e.state.bytes <= rules.eager_bytes;
  const bool rendezvous = rules.capacity == 0 && !eager;
  const Entry* before = nullptr;  // whose credit it needs
  if (message.send_fifo >= 0 && !at_head(message.send_fifo, transfer, true)) return;
  if (rendezvous) {
    if (message.recv_fifo >= 0 ? !at_head(message.recv_fifo, transfer, false) : rules.receive == Receive::at_use && !e.arrived) return;
  } else if (rules.capacity > 0 && !eager && number(transfer) >= rules.capacity) {
    before = find(edge, number(transfer) - rules.capacity);
    if (before == nullptr || !before->consumed) return;
  }

  Delivery& state = e.state;
  state.start = state.offered;
  const auto after = [&state](Nanos time, Wait wait, SpanRef span) {
    if (time <= state.start) return;
    state.start = time;
    state.wait = wait;
    state.waited_for = span;
  };
  if (message.send_fifo >= 0) after(fifos_[at(message.send_fifo)].free, Wait::channel_order, fifos_[at(message.send_fifo)].last);
  if (rendezvous && message.recv_fifo >= 0) after(fifos_[at(message.recv_fifo)].free, Wait::channel_order, fifos_[at(message.recv_fifo)].last);
  if (rendezvous && rules.receive == Receive::at_use) after(e.arrived_at, Wait::capacity, e.recv);
  if (before != nullptr) after(before->consumed_at, Wait::capacity, before->consumer);
  state.accepted = true;
  state.available = state.start + state.wire;
  if (message.send_fifo >= 0) pass(message.send_fifo, rules.send == Send::immediate ? state.available : state.start, state.send);
  if (rendezvous) {
    if (message.recv_fifo >= 0) pass(message.recv_fifo, state.available, state.send);
    state.received = true;
    rings.add(plan.to);
  }
  if (rules.send == Send::holding) rings.add(plan.from);
}

void Channels::try_receive(const Transfer& transfer, Entry& e, Rings& rings) {
  const Message& message = plan_.messages[at(transfer.message)];
  if (message.recv_fifo >= 0) {
    if (!at_head(message.recv_fifo, transfer, false)) return;
    e.state.available = std::max(e.state.available, fifos_[at(message.recv_fifo)].free);
    pass(message.recv_fifo, e.state.available, e.state.send);
  }
  e.state.received = true;
  rings.add(plan_.edges[at(message.edge)].to);
}

}  // namespace bubblescope
