// Chimera: two pipelines in opposite directions over the same ranks, their microbatches interleaved so that
// one fills the other's bubbles. Li and Hoefler, arXiv 2107.06925, with two pipelines and direct
// concatenation. A unit is p microbatches: the even ones go down (chain 0), the odd ones up (chain 1). In
// slots of one forward or one backward the j-th microbatch of a direction has F on its s-th stage in slot
// s + 2j and B in slot 2p-1-s + 2j; the next unit begins 2p slots later.
//
//   2 ranks, 2 microbatches, F = B      rank 0  0F0 3F1 3B1 0B0
//                                       rank 1  2F1 1F0 1B0 2B1
//
// Bubble of one unit: (p-2)/(2p+p-2) where F = B.
#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.hpp"
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule chimera_schedule();

namespace {

struct Slot {
  std::int32_t time;
  Op op;
};

Program generate_chimera(const ScheduleShape& shape) {
  const std::int32_t ranks = shape.ranks;
  if (ranks % 2 != 0 || shape.microbatches % 2 != 0) {
    throw ShapeError(fmt::format("schedule 'chimera' for {} ranks and {} microbatches; expected even numbers of both", ranks, shape.microbatches));
  }
  Program program = make_bidirectional_program("chimera", ranks, shape.microbatches);
  for (Rank r = 0; r < ranks; ++r) {
    std::vector<Slot> slots;
    slots.reserve(2 * static_cast<std::size_t>(shape.microbatches));
    for (Microbatch m = 0; m < shape.microbatches; ++m) {
      const bool up = m % 2 != 0;
      const std::int32_t s = up ? ranks - 1 - r : r;  // of its chain
      const std::int32_t unit = m / ranks, begin = 2 * ranks * unit + 2 * (m % ranks / 2);
      for (const Kind kind : {Kind::F, Kind::B}) {
        Op op = make_op(kind, up ? ranks + s : s, m);
        op.chain = up ? 1 : 0;
        slots.push_back({begin + (kind == Kind::F ? s : 2 * ranks - 1 - s), op});
      }
    }
    std::sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) { return a.time < b.time; });
    auto& row = program.rows[static_cast<std::size_t>(r)];
    row.reserve(slots.size() + 3);
    for (const Slot& slot : slots) row.push_back(slot.op);
  }
  append_flush(program, option_number(find_schedule("chimera"), shape, "clip") != 0);
  return program;
}

}  // namespace

Schedule chimera_schedule() {
  Schedule schedule;
  schedule.name = "chimera";
  schedule.title = "Chimera: two directions that fill each other's bubbles, two copies of the weights";
  schedule.paper = "Li and Hoefler, Chimera, arXiv 2107.06925";
  schedule.memory = "p/2+1 to p microbatches, twice the weights";
  schedule.bubble = "(p-2)/(2m+p-2) where m = p and F = B, (p-2)/(1.5m+p-2) where B = 2F";
  schedule.options = {clip_option()};
  schedule.generate = generate_chimera;
  return schedule;
}

}  // namespace bubblescope
