// PipeDream: 1F1B that never drains. Stage s of p runs p-s microbatches ahead of its backwards, so a gradient is
// computed at weights that are p-1-s updates old.
//   pipedream       an update after every backward; the backward uses the weights that its forward used,
//                   of which a stage stashes up to p-s versions. Narayanan et al., arXiv 1806.03377 (SOSP 2019)
//   pipedream-2bw   an update after m backwards, two versions of the weights, all of an iteration computed
//                   at those of one update before. Narayanan et al., arXiv 2006.09503
//
//   2 ranks, 3 microbatches per iteration, B = 2 F; ' marks the next iteration
//   rank 0  F0 F1 .. .. B0 B0 F2 B1 B1 F0'B2 B2 F1'B0'...
//   rank 1  .. F0 B0 B0 F1 B1 B1 F2 B2 B2 F0'B0'...
//
// Period: F + B (+ U) per microbatch of the slowest rank, no bubble but the first fill.
#include "sim/schedules/stream.hpp"

namespace bubblescope {

Schedule pipedream_schedule();
Schedule pipedream_2bw_schedule();

namespace {

Program generate_pipedream(const ScheduleShape& shape) {
  Program program = stream_program("pipedream", shape, {});
  program.weights = WeightPolicy::stash;
  return program;
}

Program generate_pipedream_2bw(const ScheduleShape& shape) {
  Program program = stream_program("pipedream-2bw", shape, {.update_each = false});
  program.weights = WeightPolicy::double_buffered;
  return program;
}

}  // namespace

Schedule pipedream_schedule() {
  Schedule schedule;
  schedule.name = "pipedream";
  schedule.title = "PipeDream: 1F1B that never drains, backwards at stashed weights";
  schedule.paper = "Narayanan et al., PipeDream, arXiv 1806.03377";
  schedule.memory = "p-r microbatches and p-r versions of the weights on rank r";
  schedule.bubble = "none after the first fill; gradients p-1-r updates old";
  schedule.flush = false;
  schedule.whole_batches = true;
  schedule.generate = generate_pipedream;
  return schedule;
}

Schedule pipedream_2bw_schedule() {
  Schedule schedule;
  schedule.name = "pipedream-2bw";
  schedule.title = "PipeDream-2BW: 1F1B that never drains, two versions of the weights";
  schedule.paper = "Narayanan et al., PipeDream-2BW, arXiv 2006.09503";
  schedule.memory = "p-r microbatches on rank r, twice the weights";
  schedule.bubble = "none after the first fill; gradients one update old";
  schedule.flush = false;
  schedule.generate = generate_pipedream_2bw;
  return schedule;
}

}  // namespace bubblescope
