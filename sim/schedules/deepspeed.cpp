// DeepSpeed's instruction order (runtime/pipe/schedule.py, TrainSchedule): 2(m+p-1) steps of one forward or
// one backward, ranks of even and odd number in turns. Compute as 1F1B has it; what differs is where sends
// and receives stand, and that both sides stand still until an entry is handed over:
//   before a forward   the gradient of the step before is sent back, the activation received
//   before a backward  the gradient is received, the activation of the step before sent on
//
// A rank needs max(2, min(p-r, m)) buffers.
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule deepspeed_schedule();

namespace {

/// What a rank computes in a step; microbatches outside 0..m-1 mean nothing.
struct Step {
  bool forward = false;
  Microbatch microbatch = -1;
};

Step step_of(std::int32_t step, Rank rank, std::int32_t ranks) {
  const bool forward = step % 2 == rank % 2;
  // Forwards start on rank r in step r; the last rank's backward follows its forward, and one comes back a
  // rank in every step.
  return {forward, forward ? (step - rank) / 2 : (step - (2 * ranks - 1 - rank)) / 2};
}

Program generate_deepspeed(const ScheduleShape& shape) {
  const std::int32_t ranks = shape.ranks;
  Program program = make_program("deepspeed", ranks, shape.microbatches, placement_loop(ranks, 1));
  program.channels.front() = {.capacity = 0, .receive = Receive::at_use, .send = Send::holding};
  for (Rank r = 0; r < ranks; ++r) {
    auto& row = program.rows[static_cast<std::size_t>(r)];
    const bool first = r == 0, last = r == ranks - 1;
    const auto valid = [&](const Step& step) { return step.microbatch >= 0 && step.microbatch < shape.microbatches; };
    Step before;
    for (std::int32_t s = 0; s < 2 * (shape.microbatches + ranks - 1); ++s) {
      Step now = step_of(s, r, ranks);
      if (s < (now.forward ? r : 2 * ranks - 1 - r)) now.microbatch = -1;  // division rounds towards 0
      const auto put = [&](Kind kind, const Step& step) {
        if (valid(step)) row.push_back(make_op(kind, r, step.microbatch));
      };
      if (now.forward) {
        if (!first) put(Kind::SEND_B, before);
        if (!first) put(Kind::RECV_F, now);
        put(Kind::F, now);
      } else {
        if (!last) put(Kind::RECV_B, now);
        if (!last) put(Kind::SEND_F, before);
        put(Kind::B, now);
      }
      before = now;
    }
  }
  append_flush(program, option_number(find_schedule("deepspeed"), shape, "clip") != 0);
  return program;
}

}  // namespace

Schedule deepspeed_schedule() {
  Schedule schedule;
  schedule.name = "deepspeed";
  schedule.title = "DeepSpeed's instruction order: 1F1B with transfers that both sides wait for";
  schedule.paper = "DeepSpeed, runtime/pipe/schedule.py (TrainSchedule)";
  schedule.memory = "min(p-r, m) microbatches on rank r";
  schedule.bubble = "(p-1)/(m+p-1) where transfers take no time and F = B";
  schedule.options = {clip_option()};
  schedule.generate = generate_deepspeed;
  return schedule;
}

}  // namespace bubblescope
