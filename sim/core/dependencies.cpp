// The rules of the dependency profiles.
#include "sim/core/dependencies.hpp"

#include <initializer_list>

#include "sim/core/interlocking.hpp"

namespace bubblescope {
namespace {

/// The first of `kinds` that exists for `stage` and the microbatch of `op`.
OpIndex first_of(const OpTable& table, std::initializer_list<Kind> kinds, Stage stage, const Op& op) {
  for (const Kind kind : kinds) {
    if (const OpIndex found = table.find(kind, stage, op); found >= 0) return found;
  }
  return -1;
}

/// Collects one op's edges.
struct Edges {
  std::vector<Dependency>& out;
  OpIndex self;
  void add(OpIndex source, Edge edge) {
    if (source >= 0 && source != self) out.push_back({source, edge});
  }
};

/// The last ops of a stage that came before, in the row that is being walked.
struct StageState {
  OpIndex compute = -1;
  OpIndex collective = -1;
  OpIndex unshard = -1;
};

}  // namespace

Dependencies derive_dependencies(const Program& program) { return derive_dependencies(program, OpTable(program)); }

Dependencies derive_dependencies(const Program& program, const OpTable& table) {
  const ChainLinks links = chain_links(program);
  const bool gradients = has_gradients(program.profile);
  const bool interlocks = program.profile == Profile::interlocking;
  const Interlocking interlocking(program);
  const bool late = program.profile == Profile::local_serial;
  // What must have ended before a stage's output leaves.
  const auto output_of = [&](Stage stage, const Op& op) {
    return late ? first_of(table, {Kind::U, Kind::LB, Kind::A, Kind::F}, stage, op) : table.find(Kind::F, stage, op);
  };

  Dependencies result;
  const std::size_t count = program.op_count();
  result.first_.reserve(count + 1);
  result.edges_.reserve(2 * count);
  std::vector<StageState> states(static_cast<std::size_t>(program.stages()));

  OpIndex index = 0;
  for (const auto& row : program.rows) {
    OpIndex reduction = -1;  // the row's last; they end in order
    for (const Op& op : row) {
      Edges edges{result.edges_, index};
      for (const Op& part : program.parts_of(op)) {
        if (part.stage < 0 || part.stage >= program.stages()) continue;
        const auto stage = static_cast<std::size_t>(part.stage);
        StageState& state = states[stage];
        switch (part.kind) {
          case Kind::F: {
            const Op source = source_of(program, part);
            if (const OpIndex recv = table.find(Kind::RECV_F, part.stage, source); recv >= 0) {
              edges.add(recv, Edge::activation);
            } else {
              edges.add(links.previous[stage] < 0 ? -1 : output_of(links.previous[stage], source), Edge::activation);
            }
            break;
          }
          case Kind::B:
          case Kind::I: {
            if (interlocks && interlocking.own(part)) {
              edges.add(first_of(table, {Kind::A, Kind::F}, part.stage, without_loss(part)), Edge::own);
              break;
            }
            const Op forward = interlocks ? without_loss(part) : part;
            edges.add(first_of(table, {Kind::R, Kind::F}, part.stage, forward), Edge::own);
            if (!gradients) break;
            if (const OpIndex recv = table.find(Kind::RECV_B, part.stage, part); recv >= 0) {
              edges.add(recv, Edge::gradient);
            } else {
              edges.add(first_of(table, {Kind::I, Kind::B}, links.next[stage], part), Edge::gradient);
            }
            break;
          }
          case Kind::W:
            edges.add(table.find(Kind::I, part.stage, part), Edge::own);
            break;
          case Kind::R:
            edges.add(table.find(Kind::F, part.stage, part), Edge::own);
            break;
          case Kind::A:
            edges.add(first_of(table, {Kind::R, Kind::F}, part.stage, part), Edge::own);
            break;
          case Kind::LB:
            edges.add(first_of(table, {Kind::A, Kind::R, Kind::F}, part.stage, part), Edge::own);
            break;
          case Kind::U:
            edges.add(state.collective, Edge::own);
            break;
          case Kind::SEND_F:
            edges.add(output_of(part.stage, part), Edge::own);
            break;
          case Kind::SEND_B:
            edges.add(first_of(table, {Kind::I, Kind::B}, part.stage, part), Edge::own);
            break;
          case Kind::RECV_F:
            edges.add(table.find(Kind::SEND_F, links.previous[stage], part), Edge::message);
            break;
          case Kind::RECV_B:
            edges.add(table.find(Kind::SEND_B, links.next[stage], part), Edge::message);
            break;
          case Kind::ALLREDUCE:
          case Kind::REDUCE_GRAD:
            edges.add(state.compute, Edge::own);
            state.collective = reduction = index;
            break;
          case Kind::SYNC:
            edges.add(reduction, Edge::own);
            break;
          case Kind::UNSHARD:
            state.unshard = index;
            break;
          case Kind::RESHARD:
            edges.add(state.compute, Edge::own);
            break;
          default:
            break;
        }
        if (is_compute(part.kind)) {
          if (state.unshard >= 0) edges.add(state.unshard, Edge::own);
          state.compute = index;
        }
      }
      result.first_.push_back(static_cast<std::uint32_t>(result.edges_.size()));
      ++index;
    }
  }
  return result;
}

}  // namespace bubblescope
