// 1F1B: after a warm-up rank r alternates one forward and one backward. The warm-up is p-1-r forwards,
// or twice as many where activations and gradients should be under way while the rank computes (eager).
//
//   2 ranks, 3 microbatches, B = 2 F
//   rank 0  F0 F1 .. .. B0 B0 F2 B1 B1 .. B2 B2
//   rank 1  .. F0 B0 B0 F1 B1 B1 F2 B2 B2 .. ..
//
// Makespan of both: (m + p - 1)(F + B), as GPipe; the gain is memory. With transfers that take time the
// eager one loses less.
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule one_f_one_b_schedule();
Schedule pipedream_flush_schedule();
Schedule eager_one_f_one_b_schedule();

namespace {

/// `lead`: forwards in the warm-up for every rank that comes after this one.
Program generate_with_lead(const std::string& name, const ScheduleShape& shape, std::int32_t lead) {
  Program program = make_program(name, shape.ranks, shape.microbatches, placement_loop(shape.ranks, 1));
  for (Rank r = 0; r < shape.ranks; ++r) append_one_f_one_b(program.rows[static_cast<std::size_t>(r)], r, lead * (shape.ranks - 1 - r), shape.microbatches);
  append_flush(program, option_number(find_schedule(name), shape, "clip") != 0);
  return program;
}

}  // namespace

Schedule one_f_one_b_schedule() {
  Schedule schedule;
  schedule.name = "1f1b";
  schedule.title = "1F1B: one forward, one backward in turn";
  schedule.paper = "Narayanan et al., Megatron-LM, arXiv 2104.04473";
  schedule.memory = "min(p-r, m) microbatches on rank r";
  schedule.bubble = "(p-1)/(m+p-1)";
  schedule.options = {clip_option()};
  schedule.generate = [](const ScheduleShape& shape) { return generate_with_lead("1f1b", shape, 1); };
  return schedule;
}

Schedule pipedream_flush_schedule() {
  Schedule schedule = one_f_one_b_schedule();
  schedule.name = "pipedream-flush";
  schedule.title = "PipeDream-Flush: 1F1B with an update after every flush, by its first name";
  schedule.paper = "Narayanan et al., PipeDream-2BW, arXiv 2006.09503";
  schedule.generate = [](const ScheduleShape& shape) { return generate_with_lead("pipedream-flush", shape, 1); };
  return schedule;
}

Schedule eager_one_f_one_b_schedule() {
  Schedule schedule = one_f_one_b_schedule();
  schedule.name = "eager-1f1b";
  schedule.title = "Eager 1F1B: twice the warm-up, so that transfers overlap with compute";
  schedule.paper = "Zhuang et al., cross-mesh resharding, arXiv 2211.05322";
  schedule.memory = "min(2(p-1-r)+1, m) microbatches on rank r";
  schedule.generate = [](const ScheduleShape& shape) { return generate_with_lead("eager-1f1b", shape, 2); };
  return schedule;
}

}  // namespace bubblescope
