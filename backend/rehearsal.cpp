// Rehearsing one rank's row.
#include "backend/rehearsal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
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
  std::set<std::tuple<Stage, std::int32_t, Microbatch>> received;
  for (const Op& op : program.rows[static_cast<std::size_t>(rank)]) {
    for (const Op& part : program.parts_of(op)) {
      if (is_recv(part.kind)) continue;  // the op that uses it gets an example
      Step step{.op = part};
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
      if (part.kind == Kind::F && elsewhere(links.next[stage])) steps_.push_back({.op = as(part, Kind::SEND_F)});
      if (backward && goes_on && elsewhere(links.previous[stage])) steps_.push_back({.op = as(part, Kind::SEND_B)});
    }
  }
}

void Rehearsal::walk(Device& device, std::vector<Sample>& samples) {
  const Op* now = nullptr;
  try {
    for (const Step& step : steps_) {
      now = &step.op;
      take(step, device, samples);
    }
  } catch (const std::exception& error) {
    throw RunError(fmt::format("calibrating {}: {}", cell(*now), error.what()));
  }
  next_ += iterations_;
}

void Rehearsal::take(const Step& step, Device& device, std::vector<Sample>& samples) {
  Op op = step.op;
  op.iteration += next_;
  if (is_send(op.kind)) {
    device.output(op);
    return;
  }
  std::vector<std::pair<Op, Payload>> inputs;
  for (Op recv : step.inputs) {
    recv.iteration += next_;
    inputs.emplace_back(recv, device.example(recv));
  }
  const Nanos start = steady_now();
  if (is_collective(op.kind)) {
    device.reduced(op, std::vector<Payload>(step.copies, device.contribution(op)));
  } else {
    for (auto& [recv, payload] : inputs) device.input(recv, std::move(payload));
    device.execute(op);
  }
  if (op.stage >= 0) samples.push_back({op.stage, op.kind, start, steady_now()});
}

}  // namespace bubblescope
