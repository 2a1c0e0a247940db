// Endings and options that several schedules share.
#include "sim/schedules/generators.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.hpp"

namespace bubblescope {

void append_one_f_one_b(std::vector<Op>& row, Stage stage, Microbatch warm_up, Microbatch microbatches) {
  const Microbatch ahead = std::min(warm_up, microbatches);
  row.reserve(row.size() + 2 * static_cast<std::size_t>(microbatches) + 2);
  for (Microbatch m = 0; m < ahead; ++m) row.push_back(make_op(Kind::F, stage, m));
  for (Microbatch m = ahead; m < microbatches; ++m) {
    row.push_back(make_op(Kind::F, stage, m));
    row.push_back(make_op(Kind::B, stage, m - ahead));
  }
  for (Microbatch m = microbatches - ahead; m < microbatches; ++m) row.push_back(make_op(Kind::B, stage, m));
}

std::vector<Microbatch> round_lengths(std::int32_t ranks, Microbatch microbatches) {
  const std::int32_t rounds = std::max(1, microbatches / ranks);
  std::vector<Microbatch> lengths(static_cast<std::size_t>(rounds), microbatches / rounds);
  for (std::int32_t i = 0; i < microbatches % rounds; ++i) ++lengths[static_cast<std::size_t>(i)];
  return lengths;
}

ScheduleOption clip_option() {
  return {"clip", "1: clip gradients by global norm, a barrier of all ranks before the updates", "0", {"0", "1"}};
}

ScheduleOption chunks_option() { return {"chunks", "stages per rank", "2", {}, 1}; }

ScheduleOption accumulate_option() {
  return {"accumulate", "microbatches whose gradients are added up before an update", "1", {}, 1};
}

std::int32_t accumulation(const Schedule& schedule, const ScheduleShape& shape) {
  const auto accumulate = static_cast<std::int32_t>(option_number(schedule, shape, "accumulate"));
  if (shape.microbatches % accumulate == 0) return accumulate;
  throw ShapeError(fmt::format("schedule '{}' for {} microbatches with 'accumulate' {}; expected a multiple of it", schedule.name,
                               shape.microbatches, accumulate));
}

void append_flush(Program& program, const ScheduleShape& shape) {
  const bool clip = option_number(find_schedule(program.schedule), shape, "clip") != 0;
  const ChainLinks links = chain_links(program);
  const auto put = [&](std::vector<Op>& row, Kind kind, Stage stage) {
    Op op = make_op(kind, stage, -1);
    op.chain = links.chain[static_cast<std::size_t>(stage)];
    row.push_back(op);
  };
  std::vector<std::vector<Stage>> held(program.rows.size());
  for (Stage s = 0; s < program.stages(); ++s) held[static_cast<std::size_t>(program.stage_rank[s])].push_back(s);
  for (std::size_t r = 0; r < program.rows.size(); ++r) {
    if (clip) put(program.rows[r], Kind::SYNC, held[r].empty() ? 0 : held[r].front());
    for (const Stage s : held[r]) put(program.rows[r], Kind::U, s);
  }
}

}  // namespace bubblescope
