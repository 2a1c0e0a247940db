// DualPipe: two pipelines in opposite directions over the same ranks, forward and backward of opposite
// directions overlapped. DualPipeV: half of it, folded into a V of two stages per rank. DeepSeek-AI,
// arXiv 2412.19437, and https://github.com/deepseek-ai/DualPipe. Every rank has a side 0 (where its
// earlier microbatches come in) and a side 1, and goes through eight steps, with h its distance from the
// nearer end (DualPipeV: its rank), n half the ranks (DualPipeV: the ranks) and k a side's microbatches:
//   1  2(n-h-1) x F0                  5  n-h-1 x [B1, F1&B0]
//   2  h+1 x [F0, F1]                 6  h+1 x [B1, B0], W put off in the second half
//   3  n-h-1 x [I1, W, F1]            7  n-h-1 x [W, I0]
//   4  k-2n+h+1 x [F0&B1, F1&B0]      8  h+1 x W
// The first pair of step 4 is not overlapped on the ranks where the directions meet.
//
// Idle time per rank, n ranks on a side: (n-1)(F&B + B - 3W), exact everywhere where F&B = F + B, else
// where the directions meet: there a rank waits longest for what is overlapped elsewhere.
#include <fmt/format.h>

#include <array>
#include <queue>

#include "sim/core/error.hpp"
#include "sim/schedules/generators.hpp"

namespace bubblescope {

Schedule dualpipe_schedule();
Schedule dualpipev_schedule();

namespace {

/// What a rank has on one side.
struct Side {
  Stage stage = -1;
  std::uint8_t chain = 0;
  Microbatch first = 0;  ///< of its microbatches
};

/// One rank's row.
class Row {
 public:
  Row(Program& program, Rank rank, std::array<Side, 2> sides) : program_(program), row_(program.rows[static_cast<std::size_t>(rank)]), sides_(sides) {}

  void forward(std::size_t side) { row_.push_back(next(Kind::F, side, forwards_)); }
  void backward(std::size_t side) { row_.push_back(next(Kind::B, side, backwards_)); }
  void input(std::size_t side) {
    Op op = next(Kind::I, side, backwards_);
    row_.push_back(op);
    op.kind = Kind::W;
    owed_.push(op);
  }
  void weight() {
    row_.push_back(owed_.front());
    owed_.pop();
  }
  void overlap(std::size_t forward_side, std::size_t backward_side) {
    const std::array parts{next(Kind::F, forward_side, forwards_), next(Kind::B, backward_side, backwards_)};
    row_.push_back(program_.make_compound(Kind::OVERLAP_F_B, parts));
  }

 private:
  Op next(Kind kind, std::size_t side, std::array<Microbatch, 2>& counts) {
    Op op = make_op(kind, sides_[side].stage, sides_[side].first + counts[side]++);
    op.chain = sides_[side].chain;
    return op;
  }

  Program& program_;
  std::vector<Op>& row_;
  std::array<Side, 2> sides_;
  std::array<Microbatch, 2> forwards_{}, backwards_{};
  std::queue<Op> owed_;  ///< weight gradients
};

/// `position`: h; `length`: n; `count`: k; `meets`: whether the directions meet on this rank.
void fill(Row& row, std::int32_t position, std::int32_t length, Microbatch count, bool meets) {
  const std::int32_t outer = length - position - 1, inner = position + 1;
  for (std::int32_t i = 0; i < 2 * outer; ++i) row.forward(0);
  for (std::int32_t i = 0; i < inner; ++i) {
    row.forward(0);
    row.forward(1);
  }
  for (std::int32_t i = 0; i < outer; ++i) {
    row.input(1);
    row.weight();
    row.forward(1);
  }
  for (std::int32_t i = 0; i < count - 2 * length + inner; ++i) {
    if (i == 0 && meets) {
      row.forward(0);
      row.backward(1);
    } else {
      row.overlap(0, 1);
    }
    row.overlap(1, 0);
  }
  for (std::int32_t i = 0; i < outer; ++i) {
    row.backward(1);
    row.overlap(1, 0);
  }
  // Of these 2 (h+1) backwards the second half is split, I now and W later.
  for (std::int32_t i = 0; i < 2 * inner; ++i) {
    const std::size_t side = i % 2 == 0 ? 1 : 0;
    if (i < inner) {
      row.backward(side);
    } else {
      row.input(side);
    }
  }
  for (std::int32_t i = 0; i < outer; ++i) {
    row.weight();
    row.input(0);
  }
  for (std::int32_t i = 0; i < inner; ++i) row.weight();
}

Program generate_dualpipe(const ScheduleShape& shape) {
  const std::int32_t ranks = shape.ranks;
  const Microbatch total = shape.microbatches;
  if (ranks % 2 != 0 || total % 2 != 0 || total < 2 * ranks) {
    throw ShapeError(fmt::format("schedule 'dualpipe' for {} ranks and {} microbatches; expected even numbers of both, and at least two microbatches per rank", ranks, total));
  }
  Program program = make_bidirectional_program("dualpipe", ranks, total);
  for (Rank r = 0; r < ranks; ++r) {
    const Side down{r, 0, 0}, up{2 * ranks - 1 - r, 1, total / 2};
    const bool second_half = r >= ranks / 2;
    Row row(program, r, second_half ? std::array{up, down} : std::array{down, up});
    const std::int32_t position = std::min(r, ranks - 1 - r);
    fill(row, position, ranks / 2, total / 2, position == ranks / 2 - 1);
  }
  append_flush(program, shape);
  return program;
}

Program generate_dualpipev(const ScheduleShape& shape) {
  const std::int32_t ranks = shape.ranks;
  if (shape.microbatches < 2 * ranks) {
    throw ShapeError(fmt::format("schedule 'dualpipev' for {} ranks and {} microbatches; expected at least two microbatches per rank", ranks, shape.microbatches));
  }
  Program program = make_program("dualpipev", ranks, shape.microbatches, placement_zigzag(ranks, 2));
  for (Rank r = 0; r < ranks; ++r) {
    Row row(program, r, {Side{r, 0, 0}, Side{2 * ranks - 1 - r, 0, 0}});
    fill(row, r, ranks, shape.microbatches, r == ranks - 1);
  }
  append_flush(program, shape);
  return program;
}

}  // namespace

Schedule dualpipe_schedule() {
  Schedule schedule;
  schedule.name = "dualpipe";
  schedule.title = "DualPipe: two directions, forwards overlapped with backwards, two copies of the weights";
  schedule.paper = "DeepSeek-AI, DeepSeek-V3, arXiv 2412.19437";
  schedule.memory = "p+1 stage activations, twice the weights";
  schedule.bubble = "(p/2-1)(F&B+B-3W) idle time on the middle ranks";
  schedule.options = {clip_option()};
  schedule.chains = 2;
  schedule.generate = generate_dualpipe;
  return schedule;
}

Schedule dualpipev_schedule() {
  Schedule schedule = dualpipe_schedule();
  schedule.name = "dualpipev";
  schedule.title = "DualPipeV: half a DualPipe folded into a V, one copy of the weights";
  schedule.paper = "DeepSeek-AI, https://github.com/deepseek-ai/DualPipe";
  schedule.memory = "2p+1 stage activations (of 2m)";
  schedule.bubble = "(p-1)(F&B+B-3W) idle time on the last rank, F and B of one stage";
  schedule.stages_per_rank = 2;
  schedule.chains = 1;
  schedule.generate = generate_dualpipev;
  return schedule;
}

}  // namespace bubblescope
