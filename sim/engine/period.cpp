// The steady-state period: the Program follows itself without a barrier until it repeats.
#include <algorithm>
#include <cmath>

#include "sim/engine/simulate.hpp"
#include "sim/engine/timing.hpp"

namespace bubblescope {
namespace {

constexpr std::size_t kMostOps = 8'000'000;
constexpr std::int32_t kMostBlocks = 256;

/// Starts of one block's ops, rank by rank in row order. A block is the whole Program once: all the
/// iterations it holds.
using Starts = std::vector<Nanos>;

std::vector<Starts> starts_by_block(const Timeline& timeline, std::int32_t blocks, std::int32_t iterations_per_block) {
  std::vector<Starts> starts(static_cast<std::size_t>(blocks));
  for (const Span& span : timeline.spans) {
    if (span.has_op && is_compute(span.op.kind)) starts[static_cast<std::size_t>(span.op.iteration / iterations_per_block)].push_back(span.start);
  }
  return starts;
}

/// The constant by which `later` follows `earlier`, or -1 where it is not the same for all ops.
Nanos shift(const Starts& earlier, const Starts& later) {
  if (earlier.empty()) return 0;
  const Nanos by = later.front() - earlier.front();
  for (std::size_t i = 0; i < earlier.size(); ++i) {
    if (later[i] - earlier[i] != by) return -1;
  }
  return by;
}

/// How many blocks back a constraint can reach: bounded queues look back over `capacity` entries.
/// A queue too long to be looked at whole shows by its rates: either it never fills, or the mean over
/// many blocks is that of the slower side.
std::int32_t reach(const Program& program) {
  std::int64_t capacity = 0;
  for (const Channel& channel : program.channels) capacity = std::max<std::int64_t>(capacity, channel.capacity);
  const auto affordable = static_cast<std::int64_t>(kMostOps / std::max<std::size_t>(1, program.op_count()));
  const std::int64_t most = std::clamp<std::int64_t>(affordable, 4, kMostBlocks) / 2 - 1;
  const std::int64_t entries = std::int64_t{std::max(1, program.microbatches)} * program.iterations;  // of an edge in one block
  return static_cast<std::int32_t>(std::min(1 + capacity / entries, most));
}

}  // namespace

bool updates_every_microbatch(const Program& program) {
  for (const auto& row : program.rows) {
    for (const Op& op : row) {
      if (op.kind == Kind::U && op.microbatch >= 0) return true;
    }
  }
  return false;
}

std::optional<Nanos> steady_period(const Program& program, const StageCosts& costs, const Cluster& cluster, const SimulateOptions& options) {
  const std::int32_t window = reach(program);
  const double units = static_cast<double>(program.iterations) * (updates_every_microbatch(program) ? std::max(1, program.microbatches) : 1);
  double slope = 0;
  for (std::int32_t count = 2 * window + (program.overlap.empty() ? 2 : 3); ; count *= 2) {
    const Simulation run = simulate(repeat_iterations(program, count), costs, cluster, options);
    if (run.deadlock) return std::nullopt;
    const std::vector<Starts> starts = starts_by_block(run.timeline, count, program.iterations);
    // The last block of a stream drains, beside nothing.
    const std::size_t last = starts.size() - (program.overlap.empty() ? 1 : 2);
    // The smallest number of blocks after which everything repeats, `window` times over.
    for (std::size_t cycle = 1; cycle + static_cast<std::size_t>(window) <= last; ++cycle) {
      const Nanos by = shift(starts[last - cycle], starts[last]);
      bool repeats = by >= 0;
      for (std::size_t back = 1; repeats && back < static_cast<std::size_t>(window); ++back) {
        repeats = shift(starts[last - back - cycle], starts[last - back]) == by;
      }
      if (repeats) return static_cast<Nanos>(std::floor(static_cast<double>(by) / (static_cast<double>(cycle) * units) + 0.5));
    }
    if (!starts[last].empty()) {
      const Nanos gone = *std::max_element(starts[last].begin(), starts[last].end()) - *std::max_element(starts[last / 2].begin(), starts[last / 2].end());
      slope = static_cast<double>(gone) / static_cast<double>(last - last / 2);
    }
    // Shared cores or irrational ratios may never repeat to the nanosecond: the mean rate then.
    if (count >= kMostBlocks || program.op_count() * static_cast<std::size_t>(count) * 2 > kMostOps) break;
  }
  return static_cast<Nanos>(std::floor(slope / units + 0.5));
}

}  // namespace bubblescope
