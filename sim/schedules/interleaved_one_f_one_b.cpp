// Interleaved 1F1B: every rank holds v stages (chunks) that lie p apart; rounds of microbatches go
// through one chunk after the other. Narayanan et al., arXiv 2104.04473, with PyTorch's generalisation
// to m that p does not divide: rounds = max(1, m / p), which must divide m; a round is n = m / rounds
// microbatches. Warm-up of rank r: min((v-1) n + 2 (p-1-r), m v) forwards.
//
//   2 ranks, 2 chunks (stages 0 2 | 1 3), 2 microbatches, B = 2 F; cells are stage and microbatch
//   rank 0  F00 F01 F20 F21 ... ... B20 B20 ... B21 B21 B00 B00 B01 B01
//   rank 1  ... F10 F11 F30 B30 B30 F31 B31 B31 B10 B10 B11 B11 ... ...
//
// Makespan where p divides m: m (F + B) + (p - 1)(F + B) / v, F and B being a whole rank's share.
#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.hpp"
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule interleaved_one_f_one_b_schedule();

namespace {

Program generate_interleaved(const ScheduleShape& shape) {
  const Schedule& schedule = find_schedule("interleaved-1f1b");
  const auto chunks = static_cast<std::int32_t>(option_number(schedule, shape, "chunks"));
  const std::int32_t ranks = shape.ranks;
  const Microbatch total = shape.microbatches;
  const std::int32_t rounds = std::max(1, total / ranks);
  if (total % rounds != 0) {
    throw ShapeError(fmt::format(
        "schedule 'interleaved-1f1b' for {} ranks and {} microbatches makes {} rounds; expected a number of "
        "microbatches that the rounds divide, such as {} or {}",
        ranks, total, rounds, total / ranks * ranks, (total / ranks + 1) * ranks));
  }
  const std::int32_t per_round = total / rounds;
  Program program = make_program("interleaved-1f1b", ranks, total, placement_loop(ranks, chunks));

  // The i-th forward of a rank is of chunk (i / per_round) mod v; backwards take the chunks in reverse.
  const std::int32_t count = total * chunks;
  const auto chunk_of = [&](std::int32_t i) { return i / per_round % chunks; };
  const auto microbatch_of = [&](std::int32_t i) { return i / (per_round * chunks) * per_round + i % per_round; };
  for (Rank r = 0; r < ranks; ++r) {
    auto& row = program.rows[static_cast<std::size_t>(r)];
    row.reserve(2 * static_cast<std::size_t>(count) + static_cast<std::size_t>(chunks) + 1);
    const auto forward = [&](std::int32_t i) {
      row.push_back(make_op(Kind::F, chunk_of(i) * ranks + r, microbatch_of(i)));
    };
    const auto backward = [&](std::int32_t i) {
      row.push_back(make_op(Kind::B, (chunks - 1 - chunk_of(i)) * ranks + r, microbatch_of(i)));
    };
    const std::int32_t warm_up = std::min((chunks - 1) * per_round + 2 * (ranks - 1 - r), count);
    for (std::int32_t i = 0; i < warm_up; ++i) forward(i);
    for (std::int32_t i = warm_up; i < count; ++i) {
      forward(i);
      backward(i - warm_up);
    }
    for (std::int32_t i = count - warm_up; i < count; ++i) backward(i);
  }
  append_flush(program, option_number(schedule, shape, "clip") != 0);
  return program;
}

}  // namespace

Schedule interleaved_one_f_one_b_schedule() {
  Schedule schedule;
  schedule.name = "interleaved-1f1b";
  schedule.title = "Interleaved 1F1B: several stages per rank, 1F1B over them";
  schedule.paper = "Narayanan et al., Megatron-LM, arXiv 2104.04473";
  schedule.memory = "min((v-1)n + 2(p-1-r) + 1, mv) of mv stage activations on rank r, n = m/max(1, floor(m/p))";
  schedule.bubble = "(p-1)/(mv+p-1) where p divides m";
  schedule.options = {{"chunks", "stages per rank", "2", {}, 1}, clip_option()};
  schedule.generate = generate_interleaved;
  return schedule;
}

}  // namespace bubblescope
