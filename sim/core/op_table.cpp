// Building the identity tables of a Program.
#include "sim/core/op_table.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.hpp"

namespace bubblescope {

std::vector<OpIndex> row_offsets(const Program& program) {
  std::vector<OpIndex> offsets(program.rows.size() + 1, 0);
  for (std::size_t r = 0; r < program.rows.size(); ++r) {
    offsets[r + 1] = offsets[r] + static_cast<OpIndex>(program.rows[r].size());
  }
  return offsets;
}

OpAt locate(const std::vector<OpIndex>& offsets, OpIndex op) {
  const auto after = std::upper_bound(offsets.begin(), offsets.end(), op);
  const auto rank = static_cast<Rank>(after - offsets.begin() - 1);
  return {rank, op - offsets[static_cast<std::size_t>(rank)]};
}

IdentitySpace::IdentitySpace(const Program& program) {
  std::size_t iterations = 1;
  const auto measure = [&](const Op& op) {
    if (op.microbatch < 0) return;
    if (op.iteration < 0 || op.stage < 0 || op.stage >= program.stages()) {
      throw InputError(fmt::format("op {} has a stage or an iteration out of range; the program has {} stages", bubblescope::cell(op), program.stages()));
    }
    iterations = std::max(iterations, static_cast<std::size_t>(op.iteration) + 1);
    replicas_ = std::max(replicas_, static_cast<std::size_t>(op.replica) + 1);
    slices_ = std::max(slices_, static_cast<std::size_t>(op.slice) + 1);
    microbatches_ = std::max(microbatches_, static_cast<std::size_t>(op.microbatch) + 1);
  };
  stages_ = std::max<std::size_t>(1, static_cast<std::size_t>(program.stages()));
  for (const auto& row : program.rows) {
    for (const Op& op : row) measure(op);
  }
  for (const Op& op : program.parts) measure(op);

  const double cells = static_cast<double>(iterations) * static_cast<double>(replicas_) * static_cast<double>(slices_) *
                       static_cast<double>(stages_) * static_cast<double>(microbatches_);
  const double limit = 1e6 + 64.0 * static_cast<double>(program.op_count());
  if (cells > limit) {
    throw InputError(fmt::format("the program's numbers are too sparse: {} iterations x {} microbatches x {} stages for {} ops", iterations, microbatches_, stages_, program.op_count()));
  }
  size_ = static_cast<std::size_t>(cells);
}

OpTable::OpTable(const Program& program) : space_(program) {
  OpIndex index = 0;
  for (const auto& row : program.rows) {
    for (const Op& op : row) {
      for (const Op& part : program.parts_of(op)) {
        if (part.microbatch < 0) continue;
        auto& table = tables_[static_cast<std::size_t>(part.kind)];
        if (table.empty()) table.assign(space_.size(), -1);
        OpIndex& entry = table[space_.of(part.stage, part)];
        if (entry < 0) entry = index;
      }
      ++index;
    }
  }
}

}  // namespace bubblescope
