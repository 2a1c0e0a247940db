// Hanayo: the model laid in waves over the ranks, down and up in turn, W of them; every rank holds 2W stages.
// Liu et al., arXiv 2308.15762. Rounds of n microbatches (as in interleaved 1F1B) go through one wave after
// the other, one every second slot, so that on every rank the ones on their way down alternate with those on
// their way up. With x the stage's number within wave w, the j-th microbatch of a round that begins at slot
// t has F in slot t + 2nw + x + 2j, no two on one rank in the same; the next round begins 2nW slots later.
// Backwards go the same way from the last stage to the first, B of stage s when F of stage S-1-s would be,
// after a delay that brings the first of them into the slot of the F it needs. A slot holds one F, then one B.
//
//   2 ranks, 1 wave (stages 0 3 | 1 2), 2 microbatches, F = B
//   rank 0  0F0 0F1 ... 3F0 3B0 3F1 3B1 0B0 ... 0B1
//   rank 1  ... 1F0 2F0 1F1 2F1 2B0 1B0 2B1 1B1 ...
//
// Makespan where m >= p: m (F + B) + (p - 1) max(F, B) / W, F and B being a whole rank's share.
#include <algorithm>

#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule hanayo_schedule();

namespace {

/// A stage's F of a microbatch, or none.
struct Forward {
  Stage stage = -1;
  Microbatch microbatch = -1;
};

Program generate_hanayo(const ScheduleShape& shape) {
  const Schedule& schedule = find_schedule("hanayo");
  const auto waves = static_cast<std::int32_t>(option_number(schedule, shape, "waves"));
  const std::int32_t ranks = shape.ranks;
  Program program = make_program(schedule.name, ranks, shape.microbatches, placement_zigzag(ranks, 2 * waves));
  const std::vector<Microbatch> rounds = round_lengths(ranks, shape.microbatches);
  // However few microbatches there are, a wave takes as long as the way down and up.
  const auto wave_slots = [&](Microbatch count) { return 2 * static_cast<std::size_t>(std::max(count, ranks)); };
  const auto way = 2 * static_cast<std::size_t>(ranks);
  const std::size_t delay = wave_slots(rounds.front()) * static_cast<std::size_t>(waves - 1) + way - 1;
  std::size_t slots = way;
  for (const Microbatch count : rounds) slots += wave_slots(count) * static_cast<std::size_t>(waves);

  for (Rank r = 0; r < ranks; ++r) {
    std::vector<Forward> forwards(slots);
    std::size_t begin = 0;
    Microbatch first = 0;
    for (const Microbatch count : rounds) {
      for (std::int32_t wave = 0; wave < waves; ++wave, begin += wave_slots(count)) {
        for (const std::int32_t x : {r, 2 * ranks - 1 - r}) {
          for (Microbatch j = 0; j < count; ++j) forwards[begin + static_cast<std::size_t>(x + 2 * j)] = {2 * ranks * wave + x, first + j};
        }
      }
      first += count;
    }
    auto& row = program.rows[static_cast<std::size_t>(r)];
    row.reserve(4 * static_cast<std::size_t>(waves) * static_cast<std::size_t>(shape.microbatches) + 2 * static_cast<std::size_t>(waves) + 1);
    for (std::size_t slot = 0; slot < slots + delay; ++slot) {
      if (slot < slots && forwards[slot].stage >= 0) row.push_back(make_op(Kind::F, forwards[slot].stage, forwards[slot].microbatch));
      if (slot < delay) continue;
      const Forward& mirrored = forwards[slot - delay];  // its stage is on this rank, too
      if (mirrored.stage >= 0) row.push_back(make_op(Kind::B, program.stages() - 1 - mirrored.stage, mirrored.microbatch));
    }
  }
  append_flush(program, shape);
  return program;
}

}  // namespace

Schedule hanayo_schedule() {
  Schedule schedule;
  schedule.name = "hanayo";
  schedule.title = "Hanayo: the model in waves down and up the ranks, two stages per rank and wave";
  schedule.paper = "Liu et al., Hanayo, arXiv 2308.15762";
  schedule.memory = "at most 2(W-1)n + 2p of 2Wm stage activations, n = ceil(m/max(1, floor(m/p))): p microbatches where p divides m";
  schedule.bubble = "(p-1)/(2Wm+p-1) where F = B, 2(p-1)/(3Wm+2(p-1)) where B = 2F, W waves, m >= p";
  schedule.options = {{"waves", "times that the stages go down the ranks and up again", "1", {}, 1}, clip_option()};
  schedule.stages_per_rank = 2;
  schedule.generate = generate_hanayo;
  return schedule;
}

}  // namespace bubblescope
