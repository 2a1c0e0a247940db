// 1F1B: after a warm-up of p-1-r forwards, rank r alternates one forward and one backward.
// Narayanan et al., PipeDream-Flush in arXiv 2006.09503 (called 1F1B in Megatron-LM, arXiv 2104.04473).
//
//   2 ranks, 3 microbatches, B = 2 F
//   rank 0  F0 F1 .. .. B0 B0 F2 B1 B1 .. B2 B2
//   rank 1  .. F0 B0 B0 F1 B1 B1 F2 B2 B2 .. ..
//
// Makespan: (m + p - 1)(F + B), as GPipe; the gain is memory.
#include <algorithm>

#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule one_f_one_b_schedule();

namespace {

Program generate_one_f_one_b(const ScheduleShape& shape) {
  Program program = make_program("1f1b", shape.ranks, shape.microbatches, placement_loop(shape.ranks, 1));
  for (Rank r = 0; r < shape.ranks; ++r) {
    auto& row = program.rows[static_cast<std::size_t>(r)];
    row.reserve(2 * static_cast<std::size_t>(shape.microbatches) + 2);
    const Microbatch warm_up = std::min(shape.ranks - 1 - r, shape.microbatches);
    for (Microbatch m = 0; m < warm_up; ++m) row.push_back(make_op(Kind::F, r, m));
    for (Microbatch m = warm_up; m < shape.microbatches; ++m) {
      row.push_back(make_op(Kind::F, r, m));
      row.push_back(make_op(Kind::B, r, m - warm_up));
    }
    for (Microbatch m = shape.microbatches - warm_up; m < shape.microbatches; ++m) {
      row.push_back(make_op(Kind::B, r, m));
    }
  }
  append_flush(program, option_number(find_schedule("1f1b"), shape, "clip") != 0);
  return program;
}

}  // namespace

Schedule one_f_one_b_schedule() {
  Schedule schedule;
  schedule.name = "1f1b";
  schedule.title = "1F1B: one forward, one backward in turn";
  schedule.paper = "Narayanan et al., PipeDream-Flush, arXiv 2006.09503";
  schedule.memory = "min(p-r, m) microbatches on rank r";
  schedule.bubble = "(p-1)/(m+p-1)";
  schedule.options = {clip_option()};
  schedule.generate = generate_one_f_one_b;
  return schedule;
}

}  // namespace bubblescope
