// Local learning with more than local losses: a stage learns from its own loss and from those of the next N-1
// stages, whose gradients come back to it.
//   interlocking        N-wise, batches handed over one by one. Gomez et al., arXiv 2010.04116
//   overlapping-local   N = 2: every stage is trained together with the next, through a bounded queue. Laskin
//                       et al., arXiv 2012.03837
//
//   2 ranks, 2 microbatches, N = 2; b the backward of the next stage's loss
//   rank 0  F0 B0 .. b0 F1 B1 .. b1
//   rank 1  .. F0 B0 .. .. F1 B1
//
// Period per microbatch with equal stages, p >= N: N (F + B) + A + U.
#include <algorithm>

#include "sim/core/interlocking.hpp"
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule interlocking_schedule();
Schedule overlapping_local_schedule();

namespace {

Program generate_interlocked(const std::string& name, const ScheduleShape& shape, std::int32_t losses, std::int32_t queue) {
  Program program = make_program(name, shape.ranks, shape.microbatches, placement_loop(shape.ranks, 1));
  program.profile = Profile::interlocking;
  program.weights = WeightPolicy::latest;
  Channel& channel = program.channels.front();
  channel.fifo = Fifo::edge;
  channel.capacity = queue;
  channel.receive = Receive::at_use;
  channel.send = Send::holding;
  const std::int32_t most = std::min(losses, shape.ranks);
  for (Rank r = 0; r < shape.ranks; ++r) {
    auto& row = program.rows[static_cast<std::size_t>(r)];
    for (Microbatch m = 0; m < shape.microbatches; ++m) {
      row.push_back(make_op(Kind::F, r, m));
      row.push_back(make_op(Kind::A, r, m));
      for (std::int32_t distance = 0; distance < std::min(most, shape.ranks - r); ++distance) {
        Op backward = make_op(Kind::B, r, m);
        backward.slice = static_cast<std::uint16_t>((r + distance) % most);
        row.push_back(backward);
      }
      row.push_back(make_op(Kind::U, r, m));
    }
  }
  return program;
}

std::int32_t number(const Schedule& schedule, const ScheduleShape& shape, std::string_view option) {
  return static_cast<std::int32_t>(option_number(schedule, shape, option));
}

Schedule interlocked_schedule(const char* name, const char* queue) {
  Schedule schedule;
  schedule.name = name;
  schedule.memory = "1 microbatch on every rank, and up to Q boundary activations in its queue";
  schedule.options = {{"queue", "entries a queue holds; 0: hand over directly", queue, {}, 0, 1e6}};
  schedule.local = true;
  schedule.flush = false;
  schedule.whole_batches = true;
  return schedule;
}

}  // namespace

Schedule interlocking_schedule() {
  Schedule schedule = interlocked_schedule("interlocking", "0");
  schedule.title = "Interlocking backpropagation: losses of the next N-1 stages reach back";
  schedule.paper = "Gomez et al., Interlocking Backpropagation, arXiv 2010.04116";
  schedule.bubble = "(N-1)F/(N(F+B)+A+U) on ranks with N backwards, equal stages";
  schedule.options.push_back({"losses", "losses that a stage learns from: its own and those of the next stages", "2", {}, 1, 1024});
  schedule.generate = [](const ScheduleShape& shape) {
    const Schedule& own = find_schedule("interlocking");
    return generate_interlocked("interlocking", shape, number(own, shape, "losses"), number(own, shape, "queue"));
  };
  return schedule;
}

Schedule overlapping_local_schedule() {
  Schedule schedule = interlocked_schedule("overlapping-local", "2");
  schedule.title = "Overlapping local updates: every stage is trained with the next, too";
  schedule.paper = "Laskin et al., Parallel Training with Local Updates, arXiv 2012.03837";
  schedule.bubble = "F/(2(F+B)+A+U) on all ranks but the last, equal stages";
  schedule.generate = [](const ScheduleShape& shape) { return generate_interlocked("overlapping-local", shape, 2, number(find_schedule("overlapping-local"), shape, "queue")); };
  return schedule;
}

}  // namespace bubblescope
