// Pooling calibrations.
#include "bench/pool.hpp"

#include <map>
#include <utility>
#include <vector>

namespace bubblescope {
namespace {

/// Median over rounds, quartile by quartile.
Quartiles pooled(const std::vector<Quartiles>& rounds) {
  std::vector<Nanos> first, median, third;
  std::int64_t count = 0;
  for (const Quartiles& q : rounds) {
    if (q.count == 0) continue;
    first.push_back(q.first), median.push_back(q.median), third.push_back(q.third);
    count += q.count;
  }
  if (count == 0) return {};
  return {quartiles(first).median, quartiles(median).median, quartiles(third).median, count};
}

}  // namespace

Measurement pool_ops(Measurement measurement, std::span<const Calibration> rounds) {
  std::map<std::pair<Stage, Kind>, std::pair<std::vector<Quartiles>, std::vector<Quartiles>>> ops;
  std::map<std::pair<Stage, Kind>, std::int32_t> launches;
  for (const Calibration& round : rounds) {
    for (const MeasuredOp& op : round.ops) {
      auto& [alone, busy] = ops[{op.stage, op.kind}];
      alone.push_back(op.alone);
      busy.push_back(op.busy);
      launches[{op.stage, op.kind}] = op.launches;
    }
  }
  for (const auto& [key, quartile_lists] : ops) {
    measurement.ops.push_back({key.first, key.second, pooled(quartile_lists.first), pooled(quartile_lists.second), launches[key]});
  }
  return measurement;
}

Network pool_network(std::span<const Calibration> rounds) {
  std::vector<Quartiles> handover, sync;
  for (const Calibration& round : rounds) {
    handover.push_back(round.handover);
    sync.push_back(round.sync);
  }
  return {pooled(handover).median, pooled(sync).median};
}

}  // namespace bubblescope
