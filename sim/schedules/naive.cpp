// Naive model parallelism: no pipelining, one microbatch at a time through all stages and back.
// Described, as what pipelining does away with, in Huang et al., "GPipe", arXiv 1811.06965, figure 2.
//
//   2 ranks, 2 microbatches, B = 2 F
//   rank 0  F0 .. .. .. B0 B0 F1 .. .. .. B1 B1
//   rank 1  .. F0 B0 B0 .. .. .. F1 B1 B1 .. ..
//
// Makespan: m p (F + B).
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule naive_schedule();

namespace {

Program generate_naive(const ScheduleShape& shape) {
  Program program = make_program("naive", shape.ranks, shape.microbatches, placement_loop(shape.ranks, 1));
  for (Rank r = 0; r < shape.ranks; ++r) {
    auto& row = program.rows[static_cast<std::size_t>(r)];
    row.reserve(2 * static_cast<std::size_t>(shape.microbatches) + 2);
    for (Microbatch m = 0; m < shape.microbatches; ++m) {
      row.push_back(make_op(Kind::F, r, m));
      row.push_back(make_op(Kind::B, r, m));
    }
  }
  append_flush(program, shape);
  return program;
}

}  // namespace

Schedule naive_schedule() {
  Schedule schedule;
  schedule.name = "naive";
  schedule.title = "Naive model parallelism: one microbatch at a time, no pipelining";
  schedule.paper = "described in Huang et al., GPipe, arXiv 1811.06965, figure 2";
  schedule.memory = "1 microbatch on every rank";
  schedule.bubble = "(p-1)/p of every rank's time";
  schedule.options = {clip_option()};
  schedule.generate = generate_naive;
  return schedule;
}

}  // namespace bubblescope
