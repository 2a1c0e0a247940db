// Random Programs that are nearly right: a schedule of the registry with a few mistakes in it.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/fitting_shape.hpp"

namespace bubblescope {

/// Any schedule in a small shape, with or without sends and receives, sometimes for two iterations. Kept, as
/// some are searched for.
inline Program any_scheduled_program() {
  static std::map<std::tuple<std::size_t, int, int>, Program> known;
  const auto which = *rc::gen::inRange<std::size_t>(0, schedules().size());
  const int ranks = *rc::gen::inRange(1, 5), microbatches = *rc::gen::inRange(1, 6);
  auto& program = known[{which, ranks, microbatches}];
  if (program.rows.empty()) program = generate_fitting(schedules()[which], {.ranks = ranks, .microbatches = microbatches});
  Program result = *rc::gen::arbitrary<bool>() ? program : add_send_recv(program);
  return *rc::gen::inRange(0, 4) == 0 ? repeat_iterations(result, 2) : result;
}

/// Makes mistakes in a Program, one at a time.
class Mutator {
 public:
  explicit Mutator(Program& program) : program_(program) {}

  void mutate() {
    switch (*rc::gen::inRange(0, 12)) {
      case 0:
      case 1:
      case 2: move_op(); break;
      case 3:
      case 4: retarget(any_op_of_all()); break;
      case 5: drop_or_double_op(); break;
      case 6: make_compound(); break;
      case 7: break_compound(); break;
      case 8: change_placement(); break;
      case 9: change_chains(); break;
      case 10: change_channels(); break;
      default: change_numbers();
    }
  }

 private:
  static int below(std::size_t count) { return *rc::gen::inRange(0, std::max(1, static_cast<int>(count))); }
  /// Mostly a number that could be right, sometimes one beyond all bounds.
  template <typename Number>
  static Number any_number(std::int64_t around) {
    const auto near = static_cast<Number>(*rc::gen::inRange<std::int64_t>(-2, std::max<std::int64_t>(around, 0) + 2));
    return *rc::gen::weightedElement<Number>({{8, near}, {1, std::numeric_limits<Number>::max()}, {1, std::numeric_limits<Number>::min()}});
  }

  std::vector<Op>* any_row() {
    if (program_.rows.empty()) return nullptr;
    auto& row = program_.rows[static_cast<std::size_t>(below(program_.rows.size()))];
    return row.empty() ? nullptr : &row;
  }
  static std::ptrdiff_t any_place(const std::vector<Op>& row) { return below(row.size()); }
  Op* any_op_of_all() {
    if (!program_.parts.empty() && *rc::gen::inRange(0, 4) == 0) return &program_.parts[static_cast<std::size_t>(below(program_.parts.size()))];
    auto* row = any_row();
    return row == nullptr ? nullptr : &(*row)[static_cast<std::size_t>(any_place(*row))];
  }

  /// Within the row or to another: neighbours most often, as most such orders are still possible.
  void move_op() {
    auto* from = any_row();
    auto* to = *rc::gen::inRange(0, 4) == 0 ? any_row() : from;
    if (from == nullptr || to == nullptr) return;
    const auto at = any_place(*from);
    if (from == to && *rc::gen::arbitrary<bool>()) {
      const auto next = std::min<std::ptrdiff_t>(at + 1, static_cast<std::ptrdiff_t>(from->size()) - 1);
      std::swap((*from)[static_cast<std::size_t>(at)], (*from)[static_cast<std::size_t>(next)]);
      return;
    }
    const Op op = (*from)[static_cast<std::size_t>(at)];
    from->erase(from->begin() + at);
    to->insert(to->begin() + below(to->size() + 1), op);
  }

  void retarget(Op* op) {
    if (op == nullptr) return;
    switch (*rc::gen::inRange(0, 8)) {
      case 0:
      case 1: op->stage = any_number<std::int16_t>(program_.stages()); break;
      case 2:
      case 3: op->microbatch = any_number<std::int32_t>(program_.microbatches); break;
      case 4: op->kind = static_cast<Kind>(below(kKinds)); break;
      case 5: op->iteration = any_number<std::int32_t>(program_.iterations); break;
      case 6: op->operand = any_number<std::int32_t>(static_cast<std::int64_t>(program_.compounds.size())); break;
      default:
        op->replica = *rc::gen::element<std::uint16_t>(0, 1, 65535);
        op->slice = *rc::gen::element<std::uint16_t>(0, 1, 65535);
        op->chain = *rc::gen::element<std::uint8_t>(0, 1, 255);
    }
  }

  void drop_or_double_op() {
    auto* row = any_row();
    if (row == nullptr) return;
    const auto at = any_place(*row);
    if (*rc::gen::arbitrary<bool>()) {
      row->erase(row->begin() + at);
    } else {
      const Op op = (*row)[static_cast<std::size_t>(at)];
      row->insert(row->begin() + below(row->size() + 1), op);
    }
  }

  /// Neighbours become one op.
  void make_compound() {
    auto* row = any_row();
    if (row == nullptr || row->size() < 2) return;
    const auto at = std::min<std::ptrdiff_t>(any_place(*row), static_cast<std::ptrdiff_t>(row->size()) - 2);
    const std::vector<Op> parts(row->begin() + at, row->begin() + at + 2);
    row->erase(row->begin() + at);
    (*row)[static_cast<std::size_t>(at)] = program_.make_compound(*rc::gen::element(Kind::OVERLAP_F_B, Kind::OVERLAP_F_B, Kind::BATCH_P2P), parts);
  }

  void break_compound() {
    if (program_.compounds.empty()) return make_compound();
    Compound& compound = program_.compounds[static_cast<std::size_t>(below(program_.compounds.size()))];
    const auto parts = static_cast<std::int64_t>(program_.parts.size());
    (*rc::gen::arbitrary<bool>() ? compound.first : compound.count) = any_number<std::int32_t>(parts);
  }

  void change_placement() {
    if (*rc::gen::inRange(0, 4) == 0) {
      if (*rc::gen::arbitrary<bool>() || program_.rows.empty()) {
        program_.rows.emplace_back();
      } else {
        program_.rows.erase(program_.rows.begin() + below(program_.rows.size()));
      }
    } else if (!program_.stage_rank.empty()) {
      program_.stage_rank[static_cast<std::size_t>(below(program_.stage_rank.size()))] = any_number<Rank>(program_.ranks());
      if (*rc::gen::inRange(0, 4) == 0) program_.stage_rank.pop_back();
    }
  }

  void change_chains() {
    auto& chains = program_.chains;
    if (chains.empty() || *rc::gen::inRange(0, 6) == 0) {
      chains.emplace_back();
      return;
    }
    auto& chain = chains[static_cast<std::size_t>(below(chains.size()))];
    if (chain.empty() || *rc::gen::inRange(0, 6) == 0) {
      chains.pop_back();
      return;
    }
    const auto at = static_cast<std::size_t>(below(chain.size()));
    switch (*rc::gen::inRange(0, 4)) {
      case 0: std::swap(chain[at], chain.back()); break;
      case 1: chain[at] = any_number<Stage>(program_.stages()); break;
      case 2: chain.erase(chain.begin() + static_cast<std::ptrdiff_t>(at)); break;
      default: {  // cut in two
        std::vector<Stage> rest(chain.begin() + static_cast<std::ptrdiff_t>(at), chain.end());
        chain.resize(at);
        chains.push_back(std::move(rest));
      }
    }
  }

  void change_channels() {
    auto& channels = program_.channels;
    if (*rc::gen::inRange(0, 8) == 0) {
      channels.clear();
      return;
    }
    Channel channel;
    channel.fifo = static_cast<Fifo>(below(4));
    channel.capacity = *rc::gen::element(kUnbounded, 0, 0, 0, 1, 2, 7, -2, std::numeric_limits<std::int32_t>::max());
    channel.eager_bytes = *rc::gen::element<std::int64_t>(0, 0, 1, -1, std::numeric_limits<std::int64_t>::max());
    channel.receive = static_cast<Receive>(below(2));
    channel.send = static_cast<Send>(below(3));
    if (channels.empty() || *rc::gen::inRange(0, 3) > 0) {
      channels = {channel};
    } else {
      channel.from = any_number<Stage>(program_.stages());
      channel.to = *rc::gen::arbitrary<bool>() ? static_cast<Stage>(channel.from + (channel.from < program_.stages() ? 1 : 0)) : any_number<Stage>(program_.stages());
      channels.push_back(channel);
    }
  }

  void change_numbers() {
    switch (*rc::gen::inRange(0, 5)) {
      case 0: program_.microbatches = any_number<std::int32_t>(program_.microbatches); break;
      case 1: program_.iterations = any_number<std::int32_t>(program_.iterations); break;
      case 2: program_.chunks = any_number<std::int32_t>(program_.chunks); break;
      case 3: program_.profile = static_cast<Profile>(below(5)); break;
      default: program_.weights = static_cast<WeightPolicy>(below(4));
    }
  }

  Program& program_;
};

}  // namespace bubblescope
