// The channels' state machine: a transfer starts when both of its sides have their turn, its data is
// there and there is room; each event moves on whatever it makes possible.
#include "backend/channels.hpp"

#include <algorithm>
#include <utility>

#include "sim/core/index.hpp"

namespace bubblescope {

Channels::Channels(const Plan& plan, std::span<Bell> bells, RemoteSides* remote)
    : plan_(plan), bells_(bells), remote_(remote), edges_(plan.edges.size()), fifos_(plan.fifos.size()) {
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

const EdgePlan& Channels::plan_of(const Transfer& transfer) const { return plan_.edges[at(plan_.messages[at(transfer.message)].edge)]; }

Channels::Edge& Channels::edge_of(const Transfer& transfer) { return edges_[at(plan_.messages[at(transfer.message)].edge)]; }

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
  Edge& edge = edge_of(transfer);
  const EdgePlan& plan = plan_of(transfer);
  if (!here(plan.to)) drop_sent(edge, plan, number(transfer));
  Entry& e = entry(edge, number(transfer));
  e.offered = true;
  e.state.offered = now;
  e.state.bytes = payload.bytes;
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
  Entry& e = entry(edge_of(transfer), number(transfer));
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
  Edge& edge = edge_of({message, walk});
  const EdgePlan& plan = plan_of({message, walk});
  const std::int64_t n = number({message, walk});
  Entry& e = entry(edge, n);
  e.consumed = true;
  e.consumed_at = now;
  e.consumer = consumer;
  Payload payload = std::move(e.payload);
  if (plan.rules.capacity > 0) {
    const auto count = static_cast<std::int64_t>(plan.messages.size());
    const std::int64_t freed = n + plan.rules.capacity;
    const Transfer next{plan.messages[at(freed % count)], freed / count};
    if (here(plan.from)) {
      work_.push_back(next);
      advance(rings);
    } else {
      remote_->credited(next.message, next.walk, {now, consumer});
    }
  }
  drop_used(edge, plan);
  return payload;
}

void Channels::drop_used(Edge& edge, const EdgePlan& plan) {
  while (edge.base < edge.end) {
    Entry& first = edge.ring[at(edge.base) % edge.ring.size()];
    if (!first.consumed) return;
    // The entry that waits for this one's credit still needs to know when it came.
    if (plan.rules.capacity > 0 && here(plan.from)) {
      const Entry* waiting = find(edge, edge.base + plan.rules.capacity);
      if (waiting == nullptr || !waiting->state.accepted) return;
    }
    first = Entry{};
    ++edge.base;
  }
}

/// Of a channel to another process: what its sender has gone past, before it comes to entry `next`.
void Channels::drop_sent(Edge& edge, const EdgePlan& plan, std::int64_t next) {
  while (edge.base < std::min(edge.end, next)) {
    Entry& first = edge.ring[at(edge.base) % edge.ring.size()];
    if (!first.state.accepted || (plan.rules.send == Send::immediate && !first.left)) return;
    edge.credits.erase(edge.base);
    first = Entry{};
    ++edge.base;
  }
}

void Channels::begin() {
  Rings rings(bells_);
  const std::lock_guard lock(mutex_);
  for (std::size_t f = 0; f < fifos_.size(); ++f) {
    if (here(plan_.fifos[f].rank)) work_.push_back(head_of(static_cast<std::int32_t>(f)));
  }
  advance(rings);
}

void Channels::accepted(std::int32_t message, std::int64_t walk, Payload payload, const Delivery& delivery, Nanos now) {
  Rings rings(bells_);
  const std::lock_guard lock(mutex_);
  const Transfer transfer{message, walk};
  Entry& e = entry(edge_of(transfer), number(transfer));
  e.offered = true;
  e.state = delivery;
  if (delivery.wire > 0) {
    e.state.available = std::max(delivery.start + delivery.wire, now);
  } else {
    e.state.available = now;
    e.state.start = std::min(delivery.start, now);
  }
  e.state.wire = e.state.available - e.state.start;
  e.payload = std::move(payload);
  work_.push_back(transfer);
  advance(rings);
}

void Channels::granted(std::int32_t message, std::int64_t walk, const Turn& turn) {
  Rings rings(bells_);
  const std::lock_guard lock(mutex_);
  const Transfer transfer{message, walk};
  Edge& edge = edge_of(transfer);
  if (number(transfer) < edge.base) return;  // small enough to go without
  Entry& e = entry(edge, number(transfer));
  e.granted = true;
  e.turn = turn;
  work_.push_back(transfer);
  advance(rings);
}

void Channels::credited(std::int32_t message, std::int64_t walk, const Turn& credit) {
  Rings rings(bells_);
  const std::lock_guard lock(mutex_);
  const Transfer transfer{message, walk};
  Edge& edge = edge_of(transfer);
  if (number(transfer) < edge.base) return;  // small enough to go without
  edge.credits[number(transfer)] = credit;
  work_.push_back(transfer);
  advance(rings);
}

void Channels::left(std::int32_t message, std::int64_t walk, Nanos now) {
  Rings rings(bells_);
  const std::lock_guard lock(mutex_);
  const Transfer transfer{message, walk};
  Entry* e = find(edge_of(transfer), number(transfer));
  if (e == nullptr) return;
  e->left = true;
  const std::int32_t fifo = plan_.messages[at(message)].send_fifo;
  if (fifo < 0 || plan_of(transfer).rules.send != Send::immediate) return;
  pass(fifo, std::max(e->state.available, now), e->state.send);
  advance(rings);
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
    const EdgePlan& plan = plan_of(transfer);
    if (!here(plan.from)) try_grant(transfer);
    Entry* e = find(edge_of(transfer), number(transfer));
    if (e == nullptr || !e->offered) continue;
    if (!e->state.accepted) try_accept(transfer, *e, rings);
    if (e->state.accepted && !e->state.received && here(plan.to)) try_receive(transfer, *e, rings);
  }
}

/// Whether the receiver of a rendezvous has its turn, and since when.
bool Channels::receiver_ready(const Transfer& transfer, const Entry* e, Turn& turn) const {
  const Message& message = plan_.messages[at(transfer.message)];
  if (message.recv_fifo >= 0) {
    const Queue& queue = fifos_[at(message.recv_fifo)];
    if (transfer.walk >= queue.walks || !at_head(message.recv_fifo, transfer, false)) return false;
    turn = {queue.free, queue.last};
    return true;
  }
  if (plan_of(transfer).rules.receive != Receive::at_use) return true;
  if (e == nullptr || !e->arrived) return false;
  turn = {e->arrived_at, e->recv};
  return true;
}

/// Tells the sender's side of a rendezvous in another process once it is the receiver's turn. A receive that was posted
/// outside of any FIFO has it always.
void Channels::try_grant(const Transfer& transfer) {
  const EdgePlan& plan = plan_of(transfer);
  if (plan.rules.capacity != 0 || (plan_.messages[at(transfer.message)].recv_fifo < 0 && plan.rules.receive != Receive::at_use)) return;
  Edge& edge = edge_of(transfer);
  if (number(transfer) < edge.base) return;
  Turn turn;
  Entry* known = find(edge, number(transfer));
  if ((known != nullptr && known->granted) || !receiver_ready(transfer, known, turn)) return;
  entry(edge, number(transfer)).granted = true;
  remote_->granted(transfer.message, transfer.walk, turn);
}

void Channels::try_accept(const Transfer& transfer, Entry& e, Rings& rings) {
  const Message& message = plan_.messages[at(transfer.message)];
  const EdgePlan& plan = plan_of(transfer);
  const Channel& rules = plan.rules;
  const bool apart = !here(plan.to);
  const bool eager = rules.eager_bytes > 0 && e.state.bytes <= rules.eager_bytes;
  const bool rendezvous = rules.capacity == 0 && !eager;
  const bool has_turn = rendezvous && (message.recv_fifo >= 0 || rules.receive == Receive::at_use);
  const bool has_credit = !rendezvous && rules.capacity > 0 && !eager && number(transfer) >= rules.capacity;
  Turn turn, credit;
  if (message.send_fifo >= 0 && !at_head(message.send_fifo, transfer, true)) return;
  if (has_turn) {
    if (apart ? !e.granted : !receiver_ready(transfer, &e, turn)) return;
    if (apart) turn = e.turn;
  } else if (has_credit) {
    Edge& edge = edge_of(transfer);
    if (apart) {
      const auto given = edge.credits.find(number(transfer));
      if (given == edge.credits.end()) return;
      credit = given->second;
    } else {
      const Entry* before = find(edge, number(transfer) - rules.capacity);
      if (before == nullptr || !before->consumed) return;
      credit = {before->consumed_at, before->consumer};
    }
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
  if (has_turn) after(turn.since, message.recv_fifo >= 0 ? Wait::channel_order : Wait::capacity, turn.span);
  if (has_credit) after(credit.since, Wait::capacity, credit.span);
  state.accepted = true;
  state.available = state.start + state.wire;
  // To another process the send is through when it has left.
  if (message.send_fifo >= 0 && !(apart && rules.send == Send::immediate)) {
    pass(message.send_fifo, rules.send == Send::immediate ? state.available : state.start, state.send);
  }
  if (apart) {
    remote_->accepted(transfer.message, transfer.walk, e.payload, state);
    e.payload = {};
  } else if (rendezvous) {
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
