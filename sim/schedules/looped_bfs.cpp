// Looped breadth-first: every rank holds v stages that lie p apart; all forwards chunk by chunk, then all
// backwards with chunks and microbatches in reverse. Lamy-Poirier, arXiv 2211.05953.
//
//   2 ranks, 2 chunks (stages 0 2 | 1 3), 2 microbatches, B = 2 F; cells are stage and microbatch
//   rank 0  F00 F01 F20 F21 ... ... B21 B21 B20 B20 B01 B01 B00 B00
//   rank 1  ... F10 F11 F30 F31 B31 B31 B30 B30 B11 B11 B10 B10 ...
//
// Makespan where m >= p: m (F + B) + (p - 1)(F + B) / v, F and B being a whole rank's share.
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule looped_bfs_schedule();

namespace {

Program generate_looped_bfs(const ScheduleShape& shape) {
  const Schedule& schedule = find_schedule("looped-bfs");
  const auto chunks = static_cast<std::int32_t>(option_number(schedule, shape, "chunks"));
  Program program = make_program("looped-bfs", shape.ranks, shape.microbatches, placement_loop(shape.ranks, chunks));
  for (Rank r = 0; r < shape.ranks; ++r) {
    auto& row = program.rows[static_cast<std::size_t>(r)];
    for (std::int32_t c = 0; c < chunks; ++c) {
      for (Microbatch m = 0; m < shape.microbatches; ++m) row.push_back(make_op(Kind::F, c * shape.ranks + r, m));
    }
    for (std::int32_t c = chunks - 1; c >= 0; --c) {
      for (Microbatch m = shape.microbatches - 1; m >= 0; --m) row.push_back(make_op(Kind::B, c * shape.ranks + r, m));
    }
  }
  append_flush(program, option_number(schedule, shape, "clip") != 0);
  return program;
}

}  // namespace

Schedule looped_bfs_schedule() {
  Schedule schedule;
  schedule.name = "looped-bfs";
  schedule.title = "Looped BFS: several stages per rank, chunk after chunk";
  schedule.paper = "Lamy-Poirier, Breadth-First Pipeline Parallelism, arXiv 2211.05953";
  schedule.memory = "mv stage activations on every rank";
  schedule.bubble = "(p-1)/(mv+p-1) where m >= p";
  schedule.options = {chunks_option(), clip_option()};
  schedule.generate = generate_looped_bfs;
  return schedule;
}

}  // namespace bubblescope
