// Rehearsing one rank's row.
#include "backend/rehearsal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

#include "backend/clock.hpp"
#include "sim/core/error.hpp"
#include "sim/core/interlocking.hpp"

namespace bubblescope {

namespace {

std::size_t copies_of(const Program& program, const ChainLinks& links, Stage stage) {
  const auto position = static_cast<std::size_t>(links.position[static_cast<std::size_t>(stage)]);
  const auto reaches = [&](const auto& chain) { return chain.size() > position; };
  return static_cast<std::size_t>(std::count_if(program.chains.begin(), program.chains.end(), reaches));
}

}  // namespace

Rehearsal::Rehearsal(const Program& program, Rank rank) : iterations_(program.iterations) {
  const ChainLinks links = chain_links(program);
  const bool gradients = has_gradients(program.profile);
  const Interlocking interlocking(program);
  const bool communicates = std::any_of(program.rows.begin(), program.rows.end(), [](const auto& row) {
    return std::any_of(row.begin(), row.end(), [](const Op& op) { return is_p2p(op.kind); });
  });
  const auto elsewhere = [&](Stage stage) { return stage >= 0 && program.stage_rank[static_cast<std::size_t>(stage)] != rank; };
  const auto as = [](Op op, Kind kind) {
    op.kind = kind;
    return op;
  };
  const auto sending = [&](const Op& op) {
    const Stage peer = peer_stage(links, op);
    return Step{.op = op, .to = peer < 0 ? -1 : program.stage_rank[static_cast<std::size_t>(peer)]};
  };
  std::set<std::tuple<Stage, std::int32_t, Microbatch>> received;
  for (const Op& op : program.rows[static_cast<std::size_t>(rank)]) {
    for (const Op& part : program.parts_of(op)) {
      if (is_recv(part.kind)) continue;  // the op that uses it gets an example
      Step step = is_send(part.kind) ? sending(part) : Step{.op = part};
      if (part.kind == Kind::ALLREDUCE) step.copies = copies_of(program, links, part.stage);
      if (part.stage < 0) {
        steps_.push_back(std::move(step));
        continue;
      }
      const auto stage = static_cast<std::size_t>(part.stage);
      const bool backward = gradients && (part.kind == Kind::B || part.kind == Kind::I);
      // What a stage reads again the device keeps.
      const Op source = part.kind == Kind::F ? source_of(program, part) : part;
      const bool arrives = part.kind == Kind::F && elsewhere(links.previous[stage]) && (program.sources.empty() || received.insert({part.stage, source.iteration, source.microbatch}).second);
      if (arrives) step.inputs.push_back(as(source, Kind::RECV_F));
      const bool own_loss = program.profile == Profile::interlocking && interlocking.own(part);
      if (backward && !own_loss && elsewhere(links.next[stage])) step.inputs.push_back(as(part, Kind::RECV_B));
      steps_.push_back(std::move(step));
      if (communicates) continue;
      const bool goes_on = program.profile != Profile::interlocking || interlocking.goes_on(part);
      if (part.kind == Kind::F && elsewhere(links.next[stage])) steps_.push_back(sending(as(part, Kind::SEND_F)));
      if (backward && goes_on && elsewhere(links.previous[stage])) steps_.push_back(sending(as(part, Kind::SEND_B)));
    }
  }
}

std::int32_t Rehearsal::walk(Device& device, Streams& streams, std::int32_t lane, std::int32_t first_event, std::vector<Sample>& samples, const Sent* sent) {
  if (under_way_.size() == 2) collect(streams, samples);
  const std::int32_t events = 2 * static_cast<std::int32_t>(steps_.size());
  const std::int32_t first = first_event + issued_ % 2 * events;
  Walk walk{issued_, first, {}};
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    // A device takes so many kernels ahead, about a thousand, and then its host waits, which is not its own time.
    constexpr std::size_t kAhead = 16;
    if (i >= kAhead) streams.await(first + 2 * static_cast<std::int32_t>(i - kAhead) + 1);
    step_.store(static_cast<std::int32_t>(i), std::memory_order_relaxed);
    walk.host.push_back(issue(steps_[i], device, streams, lane, first + 2 * static_cast<std::int32_t>(i), sent));
  }
  ++issued_;
  under_way_.push_back(std::move(walk));
  return first;
}

std::vector<std::int64_t> Rehearsal::message_bytes(Device& device) const {
  std::set<std::int64_t> sizes;
  for (const Step& step : steps_) {
    for (const Op& recv : step.inputs) sizes.insert(device.example(recv).bytes);
  }
  return {sizes.begin(), sizes.end()};
}

std::string Rehearsal::place() const {
  const std::int32_t step = step_.load(std::memory_order_relaxed);
  return step < 0 ? "" : cell(steps_[static_cast<std::size_t>(step)].op);
}

void Rehearsal::finish(Streams& streams, std::vector<Sample>& samples) {
  while (!under_way_.empty()) collect(streams, samples);
  step_.store(-1, std::memory_order_relaxed);
}

void Rehearsal::collect(Streams& streams, std::vector<Sample>& samples) {
  const Walk walk = std::move(under_way_.front());
  under_way_.pop_front();
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Op& op = steps_[i].op;
    const std::int32_t event = walk.first_event + 2 * static_cast<std::int32_t>(i);
    streams.await(event + 1);
    if (failed_.load(std::memory_order_acquire)) {
      // What was issued is done, if only skipped, before anything of it can go.
      under_way_.push_front(walk);
      for (const Walk& left : under_way_) streams.await(left.first_event + 2 * static_cast<std::int32_t>(steps_.size()) - 1);
      under_way_.clear();
      std::rethrow_exception(failure_);
    }
    if (op.stage >= 0 && !is_send(op.kind)) samples.push_back({op.stage, op.kind, streams.time(event), streams.time(event + 1), walk.host[i], walk.number});
  }
}

template <class Work>
void Rehearsal::attempt(const Step& step, Work work) {
  if (failed_.load(std::memory_order_relaxed)) return;
  try {
    work();
  } catch (const std::exception& error) {
    failure_ = std::make_exception_ptr(RunError(fmt::format("calibrating {}: {}", cell(step.op), error.what())));
    failed_.store(true, std::memory_order_release);
  }
}

Nanos Rehearsal::issue(const Step& step, Device& device, Streams& streams, std::int32_t lane, std::int32_t event, const Sent* sent) {
  const std::int32_t walk = issued_;
  const auto inputs = std::make_shared<std::vector<std::pair<Op, Payload>>>();
  streams.submit(lane, [this, &step, &device, walk, inputs] {
    attempt(step, [&] {
      for (const Op& recv : step.inputs) {
        const Op numbered_recv = numbered(recv, walk);
        inputs->emplace_back(numbered_recv, device.example(numbered_recv));
      }
    });
  });
  const Nanos begun = steady_now();
  streams.record(lane, event);
  streams.submit(lane, [this, &step, &device, walk, inputs, sent] { attempt(step, [&] { run(step, device, *inputs, walk, sent); }); });
  streams.record(lane, event + 1);
  return steady_now() - begun;
}

void Rehearsal::run(const Step& step, Device& device, std::vector<std::pair<Op, Payload>>& inputs, std::int32_t walk, const Sent* sent) {
  const Op op = numbered(step.op, walk);
  if (is_send(op.kind)) {
    const Payload payload = device.output(op);
    if (sent != nullptr && step.to >= 0) (*sent)(op, payload, step.to);
  } else if (is_collective(op.kind)) {
    device.reduced(op, std::vector<Payload>(step.copies, device.contribution(op)));
  } else {
    for (auto& [recv, payload] : inputs) device.input(recv, std::move(payload));
    device.execute(op);
  }
}

}  // namespace bubblescope
