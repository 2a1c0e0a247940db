// Zero bubble under a memory limit: backwards split into I and W, Ws fill what would be idle time, and as many
// forwards run ahead as memory allows. Qi et al., arXiv 2401.10241, section 3.1; here the order is searched for
// the costs and links it will run on.
//
//   2 ranks, 2 microbatches, memory limit 1 (2 activations)
//   rank 0  F0 F1 .. I0 W0 I1 W1
//   rank 1  .. F0 I0 F1 I1 W0 W1
//
// Makespan: at least (p-1) F + m (F + I + W), and with F = I = W exactly that; a rank's span is then at least
// m (F + I + W) + max(0, 2p - 1 - floor(limit p)) F.
#include "sim/schedules/generators.hpp"
#include "sim/schedules/schedule_search.hpp"

namespace bubblescope {

Schedule zb_heuristic_schedule();

namespace {

Program generate_zb_heuristic(const ScheduleShape& shape) {
  const Schedule& schedule = find_schedule("zb-heuristic");
  const std::int32_t limit = memory_limit(schedule, shape, 1);
  return searched_program(schedule, shape, placement_loop(shape.ranks, 1), std::vector(static_cast<std::size_t>(shape.ranks), limit));
}

}  // namespace

Schedule zb_heuristic_schedule() {
  Schedule schedule;
  schedule.name = "zb-heuristic";
  schedule.title = "Zero bubble within a memory limit, searched for the costs";
  schedule.paper = "Qi et al., Zero Bubble, arXiv 2401.10241";
  schedule.memory = "floor(memory-limit p) microbatches per rank, until W";
  schedule.bubble = std::string("searched; F = I = W: (p-1)/(3m+p-1) of the makespan, none of the span from limit 2 on") + kSearchBound;
  schedule.options = {memory_limit_option(), clip_option()};
  schedule.searched = true;
  schedule.generate = generate_zb_heuristic;
  return schedule;
}

}  // namespace bubblescope
