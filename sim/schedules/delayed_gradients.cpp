// Delayed gradients: backward locking removed, every stage goes back with the error gradient that the stage
// behind it made a step ago, at its newest weights. With p stages, k counted from 0:
//   ddg                 B of p-1-k microbatches before, forwards in turn. Huo et al., arXiv 1804.10574
//   features-replay     the same, but only inputs are kept: the forward runs again (R) at the newest weights
//                       right before its backward. Huo et al., arXiv 1807.04511
//   pipelined-backprop  forwards are pipelined, too: B of 2(p-1-k) microbatches before. Petrowski et al. 1993;
//                       Kosson et al., arXiv 2003.11666
//   fdg                 that in steps that end with a barrier of all stages. Zhuang et al., arXiv 1906.09108
//
//   2 ranks, 3 microbatches per iteration, B = 2 F, | a barrier; ' marks the next iteration
//   ddg   rank 0  F0 F1 .. .. B0 B0 F2 B1 B1 F0'B2 B2 ...
//         rank 1  .. F0 B0 B0 F1 B1 B1 F2 B2 B2 ...
//   fdg   rank 0  F0 .. .. | F1 .. .. | F2 B0 B0 | F0'B1 B1 | F1'B2 B2 | ...
//         rank 1  .. .. .. | F0 B0 B0 | F1 B1 B1 | F2 B2 B2 | F0'B0'B0'| ...
//
// Period per microbatch with equal stages: F + B (+ R, + U).
#include "sim/schedules/stream.hpp"

namespace bubblescope {

Schedule ddg_schedule();
Schedule features_replay_schedule();
Schedule pipelined_backprop_schedule();
Schedule fdg_schedule();

namespace {

Program delayed_program(const std::string& name, const ScheduleShape& shape, const StreamRule& rule) {
  Program program = stream_program(name, shape, rule);
  program.weights = WeightPolicy::latest;
  if (!rule.replay) program.profile = Profile::delayed;
  return program;
}

Schedule delayed_schedule(const char* name, const char* title, const char* paper, const char* memory, const char* bubble) {
  Schedule schedule;
  schedule.name = name;
  schedule.title = title;
  schedule.paper = paper;
  schedule.memory = memory;
  schedule.bubble = bubble;
  schedule.flush = false;
  schedule.whole_batches = true;
  return schedule;
}

}  // namespace

Schedule ddg_schedule() {
  Schedule schedule = delayed_schedule("ddg", "DDG: decoupled backpropagation with delayed gradients", "Huo et al., Decoupled Parallel Backpropagation, arXiv 1804.10574",
                                       "p-r microbatches on rank r", "none after the first fill; gradients p-1-r updates old");
  schedule.generate = [](const ScheduleShape& shape) { return delayed_program("ddg", shape, {}); };
  return schedule;
}

Schedule features_replay_schedule() {
  Schedule schedule = delayed_schedule("features-replay", "Features replay: DDG that keeps inputs only and runs forwards again", "Huo et al., Features Replay, arXiv 1807.04511",
                                       "p-r inputs and 1 microbatch on rank r", "none after the first fill, but F twice; error gradients p-1-r updates old");
  schedule.generate = [](const ScheduleShape& shape) { return delayed_program("features-replay", shape, {.replay = true}); };
  return schedule;
}

Schedule pipelined_backprop_schedule() {
  Schedule schedule = delayed_schedule("pipelined-backprop", "Pipelined backpropagation: filled once, an update per microbatch", "Kosson et al., Pipelined Backpropagation at Scale, arXiv 2003.11666",
                                       "2(p-1-r)+1 microbatches on rank r", "none after the first fill; gradients 2(p-1-r) updates old");
  schedule.generate = [](const ScheduleShape& shape) { return delayed_program("pipelined-backprop", shape, {.lead_per_rank = 2}); };
  return schedule;
}

Schedule fdg_schedule() {
  Schedule schedule = delayed_schedule("fdg", "FDG: fully decoupled with delayed gradients, a barrier after every step", "Zhuang et al., Fully Decoupled Learning, arXiv 1906.09108",
                                       "2(p-1-r)+1 microbatches on rank r", "max - own of a step, F+B+U per rank; gradients 2(p-1-r) updates old");
  schedule.generate = [](const ScheduleShape& shape) { return delayed_program("fdg", shape, {.lead_per_rank = 2, .barrier = true}); };
  return schedule;
}

}  // namespace bubblescope
