// Schedules on a V of two stages per rank (stage s on rank s, stage 2p-1-s on the same), backwards split into I
// and W, each within its own memory limit and searched for the costs and links it will run on:
//   zbv-greedy  memory-limit 2p activations, those of 1F1B   Qi et al., Zero Bubble, arXiv 2401.10241, section 6
//   v-1f1b      2 floor(2p/3) + 2: two thirds                Qi et al., Pipeline Parallelism with Controllable
//   v-half      2 floor(p/2) + 2: half                       Memory, arXiv 2405.15362: the peaks of the
//   v-min       2 floor((p+1)/3) + 2: one third              paper's building blocks, until W
// The building blocks of the paper are the best for F = I = W; a limit fits any costs.
//
//   2 ranks, 2 microbatches, v-half (4 activations)
//   rank 0  0F0 0F1 ... 3F0 3I0 3F1 3I1 3W0 0I0 0W0 0I1 3W1 0W1
//   rank 1  ... 1F0 2F0 1F1 2F1 2I0 1I0 2I1 1I1 2W0 1W0 2W1 1W1
//
// Makespan: at least (p-1) F / 2 + m (F + I + W) of a rank's share; zbv-greedy with F = I = W exactly that.
#include "sim/schedules/generators.hpp"
#include "sim/schedules/schedule_search.hpp"

namespace bubblescope {

Schedule zbv_greedy_schedule();
Schedule v_half_schedule();
Schedule v_min_schedule();
Schedule v_one_f_one_b_schedule();

namespace {

Program generate_v(const Schedule& schedule, const ScheduleShape& shape, std::int32_t limit) {
  return searched_program(schedule, shape, placement_zigzag(shape.ranks, 2), std::vector(static_cast<std::size_t>(shape.ranks), limit));
}

Program generate_zbv_greedy(const ScheduleShape& shape) {
  const Schedule& schedule = find_schedule("zbv-greedy");
  return generate_v(schedule, shape, memory_limit(schedule, shape, 2));
}

Program generate_v_half(const ScheduleShape& shape) { return generate_v(find_schedule("v-half"), shape, 2 * (shape.ranks / 2) + 2); }

Program generate_v_one_f_one_b(const ScheduleShape& shape) { return generate_v(find_schedule("v-1f1b"), shape, 2 * (2 * shape.ranks / 3) + 2); }

Program generate_v_min(const ScheduleShape& shape) {
  std::vector limit(static_cast<std::size_t>(shape.ranks), 2 * ((shape.ranks + 1) / 3) + 2);
  // On two ranks the building block needs one less on the first.
  if (shape.ranks == 2) --limit.front();
  return searched_program(find_schedule("v-min"), shape, placement_zigzag(shape.ranks, 2), std::move(limit));
}

Schedule v_schedule(const char* name, const char* title, const char* paper, const char* memory, const char* bubble) {
  Schedule schedule;
  schedule.name = name;
  schedule.title = title;
  schedule.paper = paper;
  schedule.memory = memory;
  schedule.bubble = std::string(bubble) + kSearchBound;
  schedule.options = {clip_option()};
  schedule.stages_per_rank = 2;
  schedule.searched = true;
  return schedule;
}

constexpr const char* kControllableMemory = "Qi et al., Controllable Memory, arXiv 2405.15362";

}  // namespace

Schedule zbv_greedy_schedule() {
  Schedule schedule = v_schedule("zbv-greedy", "ZBV: zero bubble on a V within a memory limit, searched for the costs", "Qi et al., Zero Bubble, arXiv 2401.10241",
                                 "floor(2 memory-limit p) stage activations (half a rank each), until W",
                                 "searched; F = I = W: (p-1)/(6m+p-1) of the makespan, none of the span");
  schedule.options = {memory_limit_option(), clip_option()};
  schedule.generate = generate_zbv_greedy;
  return schedule;
}

Schedule v_half_schedule() {
  Schedule schedule = v_schedule("v-half", "V-Half: a V with half of 1F1B's activations, searched for the costs", kControllableMemory,
                                 "2 floor(p/2) + 2 stage activations (half a rank each), until W", "searched; about half of 1F1B's");
  schedule.generate = generate_v_half;
  return schedule;
}

Schedule v_min_schedule() {
  Schedule schedule = v_schedule("v-min", "V-Min: a V with a third of 1F1B's activations, searched for the costs", kControllableMemory,
                                 "2 floor((p+1)/3) + 2 stage activations (half a rank each), until W", "searched; about two thirds of 1F1B's");
  schedule.generate = generate_v_min;
  return schedule;
}

Schedule v_one_f_one_b_schedule() {
  Schedule schedule = v_schedule("v-1f1b", "1F1B on a V with two thirds of 1F1B's activations, searched for the costs", kControllableMemory,
                                 "2 floor(2p/3) + 2 stage activations (half a rank each), until W", "searched; at most 1F1B's");
  schedule.generate = generate_v_one_f_one_b;
  return schedule;
}

}  // namespace bubblescope
