// Chimera: two pipelines in opposite directions over the same ranks, their microbatches interleaved so that
// one fills the other's bubbles. Li and Hoefler, arXiv 2107.06925, with two pipelines and the paper's three
// ways to go beyond p microbatches, the options of `concatenation`. Microbatches, or pairs of them, go down
// (chain 0) and up (chain 1) in turn, a unit of them after the other. A slot holds one forward (of a pair) or
// one backward. In a unit the j-th forward of a direction has its s-th stage in slot s + 2j, the k-th backward
// in slot 2p-1-s + 2k.
//   direct            a unit is p microbatches and 2p slots. Where B = 2F a forward fills half a slot, and
//                     ranks wait in the middle.
//   forward-doubling  a unit is 2p microbatches in pairs and 3p slots: forward and backward slots are equal
//                     where B = 2F, and units follow each other without a gap. Memory holds p microbatches
//                     more, on the middle ranks twice as many. At most p microbatches that are left are
//                     a unit of `direct`, more an incomplete unit.
//   backward-halving  the same, to the paper's whole microbatches in the forward and their halves in the
//                     backward. A Program has but one size of microbatch: M counts halves here, and the
//                     forward of a whole one is the two F of its halves, one after the other. Two halves hold
//                     the activations of one microbatch: no rank holds more than p whole ones, as with
//                     `direct`. Halves stay together, so what is left is always an incomplete unit.
//
//   2 ranks, 2 microbatches, F = B      rank 0  0F0 3F1 3B1 0B0
//                                       rank 1  2F1 1F0 1B0 2B1
//   2 ranks, forward-doubling, 4        rank 0  0F0 0F1 3F2 3F3 3B2 0B0 3B3 0B1
//                                       rank 1  2F2 2F3 1F0 1F1 1B0 2B2 1B1 2B3
//
// Makespan: direct, where F = B: m (F + B) + (p/2-1)(F + B); with pairs the same where F <= B <= 2F and 2p
// divides m: the middle ranks wait for p/2-1 forwards at the start and for as many backwards at the end. In
// whole slots, which is what the paper draws and what a pair takes that is one op, 3pk + p-2 slots of B for k
// units.
#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.hpp"
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule chimera_schedule();

namespace {

struct Slot {
  std::int64_t time;
  Op op;
};

/// Microbatches that begin together, some down and some up.
struct Unit {
  std::int64_t begin = 0;  ///< slot
  Microbatch first = 0;
  Microbatch count = 0;
  std::int32_t group = 1;  ///< microbatches of one forward slot
};

std::vector<Unit> units_of(const std::string& concatenation, std::int32_t ranks, Microbatch microbatches) {
  std::vector<Unit> units;
  Unit next;
  while (next.first < microbatches) {
    const Microbatch left = microbatches - next.first;
    const bool single = concatenation == "direct" || (concatenation == "forward-doubling" && left <= ranks);
    next.group = single ? 1 : 2;
    next.count = std::min(left, next.group * ranks);
    units.push_back(next);
    next.begin += (1 + next.group) * ranks;
    next.first += next.count;
  }
  return units;
}

/// What `rank` does of a unit.
void append_unit(std::vector<Slot>& slots, const Unit& unit, Rank rank, std::int32_t ranks) {
  for (Microbatch i = 0; i < unit.count; ++i) {
    const std::int32_t number = i / unit.group;
    const bool up = number % 2 != 0;
    const std::int32_t forward = number / 2;  // of its direction
    const std::int32_t backward = unit.group * forward + i % unit.group;
    const std::int32_t s = up ? ranks - 1 - rank : rank;
    Op op = make_op(Kind::F, up ? ranks + s : s, unit.first + i);
    op.chain = up ? 1 : 0;
    slots.push_back({unit.begin + s + 2 * forward, op});
    op.kind = Kind::B;
    slots.push_back({unit.begin + 2 * ranks - 1 - s + 2 * backward, op});
  }
}

Program generate_chimera(const ScheduleShape& shape) {
  const std::int32_t ranks = shape.ranks;
  if (ranks % 2 != 0 || shape.microbatches % 2 != 0) {
    throw ShapeError(fmt::format("schedule 'chimera' for {} ranks and {} microbatches; expected even numbers of both", ranks, shape.microbatches));
  }
  Program program = make_bidirectional_program("chimera", ranks, shape.microbatches);
  const std::vector<Unit> units = units_of(option_text(find_schedule("chimera"), shape, "concatenation"), ranks, shape.microbatches);
  for (Rank r = 0; r < ranks; ++r) {
    std::vector<Slot> slots;
    slots.reserve(2 * static_cast<std::size_t>(shape.microbatches));
    for (const Unit& unit : units) append_unit(slots, unit, r, ranks);
    // Only the two F of a pair share a slot; they come in ascending order.
    std::stable_sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) { return a.time < b.time; });
    auto& row = program.rows[static_cast<std::size_t>(r)];
    row.reserve(slots.size() + 3);
    for (const Slot& slot : slots) row.push_back(slot.op);
  }
  append_flush(program, shape);
  return program;
}

}  // namespace

Schedule chimera_schedule() {
  Schedule schedule;
  schedule.name = "chimera";
  schedule.title = "Chimera: two directions that fill each other's bubbles, two copies of the weights";
  schedule.paper = "Li and Hoefler, Chimera, arXiv 2107.06925";
  schedule.memory = "p/2+1 to p microbatches; forward-doubling 3p/2+1 to 2p, backward-halving as many halves; twice the weights";
  schedule.bubble = "(p-2)/(2m+p-2) where F = B; where B = 2F (p-2)/(1.5m+p-2) with m = p, and with pairs (p-2)/(2m+p-2) where 2p divides m";
  schedule.options = {{"concatenation", "beyond p microbatches: units of p; of 2p, forwards in pairs; or so that a pair is the halves of one (M counts halves)",
                       "direct", {"direct", "forward-doubling", "backward-halving"}},
                      clip_option()};
  schedule.chains = 2;
  schedule.generate = generate_chimera;
  return schedule;
}

}  // namespace bubblescope
