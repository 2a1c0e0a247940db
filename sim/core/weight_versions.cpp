// Counting updates along the rows.
#include "sim/core/weight_versions.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace bubblescope {

std::vector<std::vector<VersionUse>> weight_versions(const Program& program) {
  std::vector<std::vector<VersionUse>> uses(program.stage_rank.size());
  struct Count {
    std::int32_t updates = 0;
    std::map<std::pair<std::int32_t, Microbatch>, std::size_t> index;
    std::vector<std::size_t> pending;  // went back, not yet in an update
  };
  std::vector<Count> counts(program.stage_rank.size());
  const auto step = [&](const Op& op) {
    if (op.stage < 0 || op.stage >= program.stages()) return;
    Count& count = counts[static_cast<std::size_t>(op.stage)];
    auto& of_stage = uses[static_cast<std::size_t>(op.stage)];
    if (op.kind == Kind::F) {
      const std::int32_t now = program.weights == WeightPolicy::double_buffered ? std::max(0, op.iteration - 1) : count.updates;
      count.index[{op.iteration, op.microbatch}] = of_stage.size();
      of_stage.push_back({op.iteration, op.microbatch, now, now, -1});
    } else if (op.kind == Kind::U) {
      for (const std::size_t use : count.pending) of_stage[use].applied = count.updates;
      count.pending.clear();
      ++count.updates;
    } else if (is_backward(op.kind)) {
      const auto found = count.index.find({op.iteration, op.microbatch});
      if (found == count.index.end()) return;
      if (program.weights == WeightPolicy::latest || program.weights == WeightPolicy::flush) of_stage[found->second].backward = count.updates;
      count.pending.push_back(found->second);
      count.index.erase(found);
    }
  };
  for (const auto& row : program.rows) {
    for (const Op& op : row) {
      for (const Op& part : program.parts_of(op)) step(part);
    }
  }
  return uses;
}

std::vector<std::int32_t> staleness(const Program& program) {
  std::vector<std::int32_t> most(program.stage_rank.size(), 0);
  const auto uses = weight_versions(program.overlap.empty() ? program : repeat_iterations(program, 3));
  for (std::size_t s = 0; s < uses.size(); ++s) {
    for (const VersionUse& use : uses[s]) most[s] = std::max(most[s], use.staleness());
  }
  return most;
}

}  // namespace bubblescope
