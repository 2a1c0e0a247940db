// GPipe: all forwards, then all backwards. Huang et al., arXiv 1811.06965.
//
//   2 ranks, 2 microbatches, B = 2 F
//   rank 0  F0 F1 .. .. .. B0 B0 B1 B1
//   rank 1  .. F0 F1 B0 B0 B1 B1 .. ..
//
// Makespan: (m + p - 1)(F + B).
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule gpipe_schedule();

namespace {

Program generate_gpipe(const ScheduleShape& shape) {
  Program program = make_program("gpipe", shape.ranks, shape.microbatches, placement_loop(shape.ranks, 1));
  for (Rank r = 0; r < shape.ranks; ++r) {
    auto& row = program.rows[static_cast<std::size_t>(r)];
    row.reserve(2 * static_cast<std::size_t>(shape.microbatches) + 2);
    for (Microbatch m = 0; m < shape.microbatches; ++m) row.push_back(make_op(Kind::F, r, m));
    for (Microbatch m = 0; m < shape.microbatches; ++m) row.push_back(make_op(Kind::B, r, m));
  }
  append_flush(program, shape);
  return program;
}

}  // namespace

Schedule gpipe_schedule() {
  Schedule schedule;
  schedule.name = "gpipe";
  schedule.title = "GPipe: all forwards, then all backwards";
  schedule.paper = "Huang et al., GPipe, arXiv 1811.06965";
  schedule.memory = "m microbatches on every rank";
  schedule.bubble = "(p-1)/(m+p-1)";
  schedule.options = {clip_option()};
  schedule.generate = generate_gpipe;
  return schedule;
}

}  // namespace bubblescope
