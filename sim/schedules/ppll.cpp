// PPLL: pipelined local learning. Every stage trains on its own loss, updates after every microbatch,
// and hands its output to the next stage through a bounded queue. Guo et al., arXiv 2411.12780.
//
//   2 ranks, 3 microbatches, early forwarding; T = A LB U of that microbatch
//   rank 0  F0 T0 T0 F1 T1 T1 F2 T2 T2
//   rank 1  .. F0 T0 T0 F1 T1 T1 F2 T2 T2
//
// Makespan with equal stages, each c = F + A + LB + U, and Q >= 1: early m c + (p-1) F, late (m+p-1) c.
// Unequal stages: one microbatch per max_s c_s in the steady state.
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule ppll_schedule();

namespace {

/// Entries are whole boundary activations: no machine holds more, and no run needs more.
constexpr double kLongestQueue = 1e6;

Program generate_ppll(const ScheduleShape& shape) {
  const Schedule& schedule = find_schedule("ppll");
  const std::int32_t accumulate = accumulation(schedule, shape);
  Program program = make_program("ppll", shape.ranks, shape.microbatches, placement_loop(shape.ranks, 1));
  program.profile = option_text(schedule, shape, "forward") == "late" ? Profile::local_serial : Profile::local;
  program.weights = WeightPolicy::latest;
  Channel& queue = program.channels.front();
  queue.fifo = Fifo::edge;
  queue.capacity = static_cast<std::int32_t>(option_number(schedule, shape, "queue"));
  queue.receive = Receive::at_use;
  queue.send = Send::holding;
  for (Rank r = 0; r < shape.ranks; ++r) {
    auto& row = program.rows[static_cast<std::size_t>(r)];
    row.reserve(4 * static_cast<std::size_t>(shape.microbatches));
    for (Microbatch m = 0; m < shape.microbatches; ++m) {
      for (const Kind kind : {Kind::F, Kind::A, Kind::LB}) row.push_back(make_op(kind, r, m));
      if ((m + 1) % accumulate == 0) row.push_back(make_op(Kind::U, r, m));
    }
  }
  return program;
}

}  // namespace

Schedule ppll_schedule() {
  Schedule schedule;
  schedule.name = "ppll";
  schedule.title = "PPLL: local learning, pipelined through bounded queues";
  schedule.paper = "Guo et al., PPLL, arXiv 2411.12780";
  schedule.memory = "1 microbatch on every rank, and up to Q boundary activations in its queue";
  schedule.bubble = "fill only with equal stages: early (p-1)F/(mc+(p-1)F), late (p-1)/(m+p-1), c = F+A+LB+U; "
                    "else rank r idles 1 - c_r/max c in the steady state";
  schedule.options = {{"queue", "entries a queue holds; 0: hand over directly", "2", {}, 0, kLongestQueue},
                      {"forward", "when the output leaves: right after the forward, or after the update", "early",
                       {"early", "late"}},
                      accumulate_option()};
  schedule.local = true;
  schedule.flush = false;
  schedule.whole_batches = true;
  schedule.generate = generate_ppll;
  return schedule;
}

}  // namespace bubblescope
