// Interleaved schedules: every rank holds v stages (chunks) that lie p apart; rounds of microbatches go
// through one chunk after the other. Narayanan et al., arXiv 2104.04473, with PyTorch's generalisation to
// m that p does not divide: max(1, floor(m/p)) rounds. PyTorch asks that they divide m; where they do not,
// the first m mod rounds of them have one microbatch more here. With n for the first round's length rank r
// warms up with
//   1F1B         min((v-1) n + 2 (p-1-r), m v) forwards, then F and B in turn;
//   zero bubble  min((v-1) n + p-1-r, m v) forwards, then F and I in turn; after r of the I a W follows
//                each, and the W that are left come last (PyTorch's ScheduleInterleavedZeroBubble; with
//                one chunk it is ZB1P).
//
//   2 ranks, 2 chunks (stages 0 2 | 1 3), 2 microbatches, B = 2 F; cells are stage and microbatch
//   rank 0  F00 F01 F20 F21 ... ... B20 B20 ... B21 B21 B00 B00 B01 B01
//   rank 1  ... F10 F11 F30 B30 B30 F31 B31 B31 B10 B10 B11 B11 ... ...
//
// Makespan of 1F1B where p divides m: m (F + B) + (p - 1)(F + B) / v, F and B being a whole rank's share.
#include <algorithm>

#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule interleaved_one_f_one_b_schedule();
Schedule interleaved_zero_bubble_schedule();
Schedule zb1p_schedule();

namespace {

/// The order in which a rank takes its (chunk, microbatch) pairs forwards; backwards take the chunks in
/// reverse.
class Rounds {
 public:
  Rounds(std::int32_t ranks, Microbatch microbatches, std::int32_t chunks) : ranks_(ranks), chunks_(chunks) {
    const std::vector<Microbatch> lengths = round_lengths(ranks, microbatches);
    first_ = lengths.front();
    order_.reserve(static_cast<std::size_t>(microbatches) * static_cast<std::size_t>(chunks));
    Microbatch begin = 0;
    for (const Microbatch length : lengths) {
      const Microbatch end = begin + length;
      for (std::int32_t chunk = 0; chunk < chunks; ++chunk) {
        for (Microbatch m = begin; m < end; ++m) order_.push_back({chunk, m});
      }
      begin = end;
    }
  }
  std::int32_t count() const { return static_cast<std::int32_t>(order_.size()); }
  /// Forwards before the first backward: all of a round but those of the last chunk, and `lead`.
  std::int32_t warm_up(std::int32_t lead) const { return std::min((chunks_ - 1) * first_ + lead, count()); }
  Op forward(std::int32_t i, Rank rank) const { return make_op(Kind::F, at(i).chunk * ranks_ + rank, at(i).microbatch); }
  Op backward(Kind kind, std::int32_t i, Rank rank) const { return make_op(kind, (chunks_ - 1 - at(i).chunk) * ranks_ + rank, at(i).microbatch); }

 private:
  struct Pair {
    std::int32_t chunk;
    Microbatch microbatch;
  };
  const Pair& at(std::int32_t i) const { return order_[static_cast<std::size_t>(i)]; }

  std::int32_t ranks_;
  std::int32_t chunks_;
  Microbatch first_;  ///< length of the first round, the longest
  std::vector<Pair> order_;
};

Program placed(const std::string& name, const ScheduleShape& shape, std::int32_t chunks) {
  return make_program(name, shape.ranks, shape.microbatches, placement_loop(shape.ranks, chunks));
}

Program generate_one_f_one_b(const ScheduleShape& shape) {
  const Schedule& schedule = find_schedule("interleaved-1f1b");
  const auto chunks = static_cast<std::int32_t>(option_number(schedule, shape, "chunks"));
  Program program = placed(schedule.name, shape, chunks);
  const Rounds rounds(shape.ranks, shape.microbatches, chunks);
  for (Rank r = 0; r < shape.ranks; ++r) {
    auto& row = program.rows[static_cast<std::size_t>(r)];
    row.reserve(2 * static_cast<std::size_t>(rounds.count()) + static_cast<std::size_t>(chunks) + 1);
    const std::int32_t warm_up = rounds.warm_up(2 * (shape.ranks - 1 - r));
    for (std::int32_t i = 0; i < warm_up; ++i) row.push_back(rounds.forward(i, r));
    for (std::int32_t i = 0; i < rounds.count(); ++i) {
      if (warm_up + i < rounds.count()) row.push_back(rounds.forward(warm_up + i, r));
      row.push_back(rounds.backward(Kind::B, i, r));
    }
  }
  append_flush(program, shape);
  return program;
}

Program generate_zero_bubble(const std::string& name, const ScheduleShape& shape, std::int32_t chunks) {
  Program program = placed(name, shape, chunks);
  const Rounds rounds(shape.ranks, shape.microbatches, chunks);
  for (Rank r = 0; r < shape.ranks; ++r) {
    auto& row = program.rows[static_cast<std::size_t>(r)];
    row.reserve(3 * static_cast<std::size_t>(rounds.count()) + static_cast<std::size_t>(chunks) + 1);
    const std::int32_t warm_up = rounds.warm_up(shape.ranks - 1 - r);
    for (std::int32_t i = 0; i < warm_up; ++i) row.push_back(rounds.forward(i, r));
    for (std::int32_t i = 0; i < rounds.count(); ++i) {
      if (warm_up + i < rounds.count()) row.push_back(rounds.forward(warm_up + i, r));
      row.push_back(rounds.backward(Kind::I, i, r));
      if (i >= r) row.push_back(rounds.backward(Kind::W, i - r, r));
    }
    for (std::int32_t i = std::max(0, rounds.count() - r); i < rounds.count(); ++i) row.push_back(rounds.backward(Kind::W, i, r));
  }
  append_flush(program, shape);
  return program;
}

}  // namespace

Schedule interleaved_one_f_one_b_schedule() {
  Schedule schedule;
  schedule.name = "interleaved-1f1b";
  schedule.title = "Interleaved 1F1B: several stages per rank, 1F1B over them";
  schedule.paper = "Narayanan et al., Megatron-LM, arXiv 2104.04473";
  schedule.memory = "min((v-1)n + 2(p-1-r) + 1, mv) of mv stage activations on rank r, n = ceil(m/max(1, floor(m/p)))";
  schedule.bubble = "(p-1)/(mv+p-1) where p divides m";
  schedule.options = {chunks_option(), clip_option()};
  schedule.generate = generate_one_f_one_b;
  return schedule;
}

Schedule interleaved_zero_bubble_schedule() {
  Schedule schedule = interleaved_one_f_one_b_schedule();
  schedule.name = "interleaved-zb";
  schedule.title = "Interleaved zero bubble: several stages per rank, split backward, as PyTorch orders it";
  schedule.paper = "Qi et al., Zero Bubble Pipeline Parallelism, arXiv 2401.10241";
  schedule.memory = "(v-1)n + p of mv stage activations, until their W, n = ceil(m/max(1, floor(m/p)))";
  schedule.bubble = "(p-1)(F+I-W)/v idle where p divides m";
  schedule.generate = [](const ScheduleShape& shape) {
    const auto chunks = static_cast<std::int32_t>(option_number(find_schedule("interleaved-zb"), shape, "chunks"));
    return generate_zero_bubble("interleaved-zb", shape, chunks);
  };
  return schedule;
}

Schedule zb1p_schedule() {
  Schedule schedule = interleaved_zero_bubble_schedule();
  schedule.name = "zb1p";
  schedule.title = "ZB1P: interleaved zero bubble with one stage per rank, 1F1B's memory";
  schedule.memory = "p microbatches, until their W";
  schedule.bubble = "(p-1)(F+I-W) idle inside each rank's span";
  schedule.options = {clip_option()};
  schedule.generate = [](const ScheduleShape& shape) { return generate_zero_bubble("zb1p", shape, 1); };
  return schedule;
}

}  // namespace bubblescope
