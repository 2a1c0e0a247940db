// Endings and options that several schedules share.
#include "sim/schedules/generators.hpp"

#include <fmt/format.h>

#include "sim/core/error.hpp"

namespace bubblescope {

ScheduleOption clip_option() {
  return {"clip", "1: clip gradients by global norm, a barrier of all ranks before the updates", "0", {"0", "1"}};
}

ScheduleOption accumulate_option() {
  return {"accumulate", "microbatches whose gradients are added up before an update", "1", {}, 1};
}

std::int32_t accumulation(const Schedule& schedule, const ScheduleShape& shape) {
  const auto accumulate = static_cast<std::int32_t>(option_number(schedule, shape, "accumulate"));
  if (shape.microbatches % accumulate == 0) return accumulate;
  throw ShapeError(fmt::format("schedule '{}' for {} microbatches with 'accumulate' {}; expected a multiple of it", schedule.name,
                               shape.microbatches, accumulate));
}

void append_flush(Program& program, bool clip) {
  std::vector<std::vector<Stage>> held(program.rows.size());
  for (Stage s = 0; s < program.stages(); ++s) held[static_cast<std::size_t>(program.stage_rank[s])].push_back(s);
  for (std::size_t r = 0; r < program.rows.size(); ++r) {
    if (clip) program.rows[r].push_back(make_op(Kind::SYNC, held[r].empty() ? 0 : held[r].front(), -1));
    for (const Stage s : held[r]) program.rows[r].push_back(make_op(Kind::U, s, -1));
  }
}

}  // namespace bubblescope
