// The hand-made zero-bubble schedules: the backward split into I (input gradient) and W (weight gradient),
// which waits for nobody and fills gaps. Qi et al., arXiv 2401.10241, figures 2 and 3.
//
//   H1, rank r: p-r forwards, then I; W where more than r of them are owed; F. Activations as 1F1B has.
//   H2, rank r: 2(p-r)-1 forwards, then I; W where more than 2r of them are owed; F. At most 2p-1
//   activations. Putting every W off until the forwards are out takes as long, and m activations.
//
//   2 ranks, 3 microbatches, F = I = W, zb-h1
//   rank 0  F0 F1 .. I0 W0 F2 I1 W1 I2 W2
//   rank 1  .. F0 I0 F1 I1 W0 F2 I2 W1 W2
//
// Idle time of a rank between its first and its last op: H1 (p-1)(F + I - W), H2 (p-1)(F + I - 2W).
#include <algorithm>

#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule zb_h1_schedule();
Schedule zb_h2_schedule();

namespace {

/// One stage's row, counting what has been issued.
class Row {
 public:
  Row(std::vector<Op>& ops, Stage stage, Microbatch microbatches) : ops_(ops), stage_(stage), microbatches_(microbatches) {
    ops_.reserve(3 * static_cast<std::size_t>(microbatches) + 2);
  }
  bool more_inputs() const { return inputs_ < microbatches_; }
  Microbatch owed() const { return inputs_ - weights_; }  ///< weight gradients
  /// So many, or what is left.
  void forwards(Microbatch count) {
    for (; count > 0 && forwards_ < microbatches_; --count) ops_.push_back(make_op(Kind::F, stage_, forwards_++));
  }
  void input() { ops_.push_back(make_op(Kind::I, stage_, inputs_++)); }
  void weight() { ops_.push_back(make_op(Kind::W, stage_, weights_++)); }

 private:
  std::vector<Op>& ops_;
  Stage stage_;
  Microbatch microbatches_;
  Microbatch forwards_ = 0, inputs_ = 0, weights_ = 0;
};

/// `depth`: 1 for H1, 2 for H2.
void fill(Row& row, Rank rank, std::int32_t ranks, std::int32_t depth) {
  row.forwards(depth * (ranks - rank) - (depth - 1));
  while (row.more_inputs()) {
    row.input();
    if (row.owed() > depth * rank) row.weight();
    row.forwards(1);
  }
  while (row.owed() > 0) row.weight();
}

Program generate_zero_bubble(const std::string& name, const ScheduleShape& shape, std::int32_t depth) {
  Program program = make_program(name, shape.ranks, shape.microbatches, placement_loop(shape.ranks, 1));
  for (Rank r = 0; r < shape.ranks; ++r) {
    Row row(program.rows[static_cast<std::size_t>(r)], r, shape.microbatches);
    fill(row, r, shape.ranks, depth);
  }
  append_flush(program, option_number(find_schedule(name), shape, "clip") != 0);
  return program;
}

}  // namespace

Schedule zb_h1_schedule() {
  Schedule schedule;
  schedule.name = "zb-h1";
  schedule.title = "ZB-H1: weight gradients fill the bubbles, in 1F1B's memory";
  schedule.paper = "Qi et al., Zero Bubble Pipeline Parallelism, arXiv 2401.10241";
  schedule.memory = "p microbatches, until their W";
  schedule.bubble = "(p-1)(F+I-W) idle inside each rank's span";
  schedule.options = {clip_option()};
  schedule.generate = [](const ScheduleShape& shape) { return generate_zero_bubble("zb-h1", shape, 1); };
  return schedule;
}

Schedule zb_h2_schedule() {
  Schedule schedule = zb_h1_schedule();
  schedule.name = "zb-h2";
  schedule.title = "ZB-H2: a longer warm-up, no bubble inside a rank's span, twice the memory";
  schedule.memory = "2p-1 microbatches, until their W";
  schedule.bubble = "(p-1)(F+I-2W) idle inside each rank's span, 0 where F = I = W";
  schedule.generate = [](const ScheduleShape& shape) { return generate_zero_bubble("zb-h2", shape, 2); };
  return schedule;
}

}  // namespace bubblescope
