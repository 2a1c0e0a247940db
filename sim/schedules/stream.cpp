// Rows of streams, step by step.
#include "sim/schedules/stream.hpp"

#include <fmt/format.h>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

class Stream {
 public:
  Stream(const StreamRule& rule, std::int32_t ranks, Rank rank, std::int32_t microbatches)
      : rule_(rule), microbatches_(microbatches), rank_(rank), shift_(rule.barrier ? rank : 0), lead_(rule.lead_per_rank * (ranks - 1 - rank)),
        steps_(microbatches + (rule.barrier ? rule.lead_per_rank * (ranks - 1) : lead_)) {}

  void write(std::vector<Op>& row, std::vector<std::int32_t>& overlap) const {
    // The steps past the last microbatch run beside the first ones of the next iteration.
    std::vector<std::int32_t> before_backward, after_step;  // by step: ops of the row so far
    for (std::int32_t step = 0; step < steps_; ++step) {
      const std::size_t first = row.size();
      const std::int32_t beside = step - microbatches_;
      if (exists(step - shift_)) row.push_back(make_op(Kind::F, rank_, step - shift_));
      if (beside < 0) before_backward.push_back(static_cast<std::int32_t>(row.size()));
      backward(row, step - shift_ - lead_);
      const std::size_t work = row.size();
      if (rule_.barrier) row.push_back(make_op(Kind::SYNC, rank_, step));
      if (beside < 0) {
        after_step.push_back(static_cast<std::int32_t>(row.size()));
        continue;
      }
      overlap.insert(overlap.end(), work - first, before_backward[static_cast<std::size_t>(beside)]);
      overlap.insert(overlap.end(), row.size() - work, after_step[static_cast<std::size_t>(beside)]);
    }
  }

 private:
  bool exists(Microbatch m) const { return m >= 0 && m < microbatches_; }

  void backward(std::vector<Op>& row, Microbatch m) const {
    if (!exists(m)) return;
    if (rule_.replay) row.push_back(make_op(Kind::R, rank_, m));
    row.push_back(make_op(Kind::B, rank_, m));
    if (rule_.update_each) {
      row.push_back(make_op(Kind::U, rank_, m));
    } else if (m + 1 == microbatches_) {
      row.push_back(make_op(Kind::U, rank_, -1));
    }
  }

  const StreamRule& rule_;
  const std::int32_t microbatches_;
  const Rank rank_;
  const std::int32_t shift_, lead_, steps_;
};

}  // namespace

Program stream_program(const std::string& name, const ScheduleShape& shape, const StreamRule& rule) {
  const std::int32_t fill = rule.lead_per_rank * (shape.ranks - 1);
  if (shape.microbatches < fill) {
    throw ShapeError(fmt::format("schedule '{}' for {} ranks and {} microbatches; expected at least {}, as many as fill the pipeline", name,
                                 shape.ranks, shape.microbatches, fill));
  }
  Program program = make_program(name, shape.ranks, shape.microbatches, placement_loop(shape.ranks, 1));
  program.overlap.resize(static_cast<std::size_t>(shape.ranks));
  for (Rank r = 0; r < shape.ranks; ++r) {
    Stream(rule, shape.ranks, r, shape.microbatches).write(program.rows[static_cast<std::size_t>(r)], program.overlap[static_cast<std::size_t>(r)]);
  }
  return program;
}

}  // namespace bubblescope
