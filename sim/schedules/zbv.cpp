// ZBV: two stages per rank in the shape of a V, so that the first and the last stage share a rank, and a
// split backward: no bubble inside a rank's span where F = I = W, in 1F1B's memory. Qi et al., arXiv
// 2401.10241, section 6, in the order of PyTorch's ScheduleZBVZeroBubble. With c0 and c1 for the chunk on
// the way down and up, rank r issues
//   2(p-r)-1 x F(c0);  r x [F(c1), F(c0)];  p-r x [F(c1), I(c1), W(c1)]
//   until all forwards are out: F(c0) where any is left, I(c0), W(c0), F(c1), I(c1), W(c1)
//   r x [I(c0), I(c1)];  p-r x [I(c0), W(c0)];  W(c1) and then W(c0) of what is left.
// Where m < 2p-1 it is the schedule for 2p-1 less the microbatches that are not there.
#include <algorithm>
#include <array>

#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule zbv_schedule();

namespace {

/// One rank's row over its two stages.
class Row {
 public:
  Row(std::vector<Op>& ops, std::array<Stage, 2> stages, Microbatch microbatches) : ops_(ops), stages_(stages), microbatches_(microbatches) {}
  Microbatch forwards(int chunk) const { return forwards_[static_cast<std::size_t>(chunk)]; }
  Microbatch owed(int chunk) const { return inputs_[static_cast<std::size_t>(chunk)] - weights_[static_cast<std::size_t>(chunk)]; }
  void forward(int chunk) { put(Kind::F, chunk, forwards_); }
  void input(int chunk) { put(Kind::I, chunk, inputs_); }
  void weight(int chunk) { put(Kind::W, chunk, weights_); }
  void backward(int chunk) {
    input(chunk);
    weight(chunk);
  }

 private:
  void put(Kind kind, int chunk, std::array<Microbatch, 2>& counts) {
    const Microbatch m = counts[static_cast<std::size_t>(chunk)]++;
    if (m < microbatches_) ops_.push_back(make_op(kind, stages_[static_cast<std::size_t>(chunk)], m));
  }

  std::vector<Op>& ops_;
  std::array<Stage, 2> stages_;
  Microbatch microbatches_;
  std::array<Microbatch, 2> forwards_{}, inputs_{}, weights_{};
};

void fill(Row& row, Rank rank, std::int32_t ranks, Microbatch microbatches) {
  for (std::int32_t i = 0; i < 2 * (ranks - rank) - 1; ++i) row.forward(0);
  for (std::int32_t i = 0; i < rank; ++i) {
    row.forward(1);
    row.forward(0);
  }
  for (std::int32_t i = 0; i < ranks - rank; ++i) {
    row.forward(1);
    row.backward(1);
  }
  while (row.forwards(1) < row.forwards(0) || row.forwards(0) < microbatches) {
    if (row.forwards(0) < microbatches) row.forward(0);
    row.backward(0);
    row.forward(1);
    row.backward(1);
  }
  for (std::int32_t i = 0; i < rank; ++i) {
    row.input(0);
    row.input(1);
  }
  for (std::int32_t i = 0; i < ranks - rank; ++i) row.backward(0);
  for (const int chunk : {1, 0}) {
    while (row.owed(chunk) > 0) row.weight(chunk);
  }
}

Program generate_zbv(const ScheduleShape& shape) {
  const std::int32_t ranks = shape.ranks;
  Program program = make_program("zbv", ranks, shape.microbatches, placement_zigzag(ranks, 2));
  for (Rank r = 0; r < ranks; ++r) {
    Row row(program.rows[static_cast<std::size_t>(r)], {r, 2 * ranks - 1 - r}, shape.microbatches);
    fill(row, r, ranks, std::max(2 * ranks - 1, shape.microbatches));
  }
  append_flush(program, shape);
  return program;
}

}  // namespace

Schedule zbv_schedule() {
  Schedule schedule;
  schedule.name = "zbv";
  schedule.title = "ZBV: two stages per rank in a V, split backward, as PyTorch orders it";
  schedule.paper = "Qi et al., Zero Bubble Pipeline Parallelism, arXiv 2401.10241";
  schedule.memory = "2p stage activations (of 2m), until their W";
  schedule.bubble = "0 inside each rank's span where F = I = W";
  schedule.options = {clip_option()};
  schedule.stages_per_rank = 2;
  schedule.generate = generate_zbv;
  return schedule;
}

}  // namespace bubblescope
