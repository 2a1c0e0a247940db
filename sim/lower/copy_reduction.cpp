// Placing the reductions, row by row.
#include "sim/lower/copy_reduction.hpp"

#include <algorithm>
#include <vector>

#include "sim/core/error.hpp"
#include "sim/core/index.hpp"

namespace bubblescope {
namespace {

bool has_reduction(const Program& program) {
  const auto reduces = [](const Op& op) { return op.kind == Kind::ALLREDUCE; };
  return std::any_of(program.rows.begin(), program.rows.end(), [&](const auto& row) { return std::any_of(row.begin(), row.end(), reduces); });
}

/// The updates of the iteration whose flush begins at `flush`, as reductions.
std::vector<Op> reductions(const std::vector<Op>& row, std::size_t flush, std::int32_t iteration, const ChainLinks& links) {
  std::vector<Op> result;
  for (std::size_t i = flush; i < row.size(); ++i) {
    if (row[i].kind != Kind::U || row[i].iteration != iteration) continue;
    result.push_back(row[i]);
    result.back().kind = Kind::ALLREDUCE;
  }
  std::stable_sort(result.begin(), result.end(), [&](const Op& a, const Op& b) { return links.position[at(a.stage)] < links.position[at(b.stage)]; });
  return result;
}

}  // namespace

Program add_copy_reduction(const Program& program) {
  if (program.chains.size() < 2 || has_reduction(program)) return program;
  if (program.weights != WeightPolicy::flush) throw InputError("copies of a stage add up their gradients at a flush; this program's weights are updated without one");
  const ChainLinks links = chain_links(program);
  Program result = program;
  for (auto& row : result.rows) {
    std::vector<Op> lowered;
    std::vector<bool> reduced(at(program.iterations), false);
    for (std::size_t i = 0; i < row.size(); ++i) {
      // The flush begins with the SYNC right before the first update of its iteration, or with that.
      std::size_t update = i;
      while (update < row.size() && row[update].kind == Kind::SYNC) ++update;
      if (update < row.size() && row[update].kind == Kind::U && !reduced[at(row[update].iteration)]) {
        const std::int32_t iteration = row[update].iteration;
        reduced[at(iteration)] = true;
        for (const Op& op : reductions(row, update, iteration, links)) lowered.push_back(op);
      }
      lowered.push_back(row[i]);
    }
    row = std::move(lowered);
  }
  return result;
}

}  // namespace bubblescope
