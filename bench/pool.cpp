// Pooling calibrations.
#include "bench/pool.hpp"

#include <map>
#include <utility>
#include <vector>

namespace bubblescope {
namespace {

/// Median over rounds, quartile by quartile, and of the means: as measured rounds are compared by their medians, a round that
/// was disturbed counts no more than others.
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

OpTimes pooled(const std::vector<OpTimes>& rounds) {
  std::vector<Nanos> means;
  for (const OpTimes& times : rounds) {
    if (times.count > 0) means.push_back(times.expected());
  }
  return {pooled(std::vector<Quartiles>(rounds.begin(), rounds.end())), quartiles(means).median};
}

template <typename Measured>
std::vector<MeasuredTransfer> by_size(std::span<const Measured> all, std::vector<MeasuredTransfer> Measured::* which) {
  std::map<std::int64_t, std::vector<Quartiles>> times;
  for (const Measured& one : all) {
    for (const MeasuredTransfer& transfer : one.*which) times[transfer.bytes].push_back(transfer.time);
  }
  std::vector<MeasuredTransfer> transfers;
  for (const auto& [bytes, list] : times) transfers.push_back({bytes, pooled(list)});
  return transfers;
}

/// Gives `network` the messages of all of these by size, and the latency and bandwidth that belong to them together.
template <typename Measured>
void pool_transfers(std::span<const Measured> all, Network& network) {
  network.both_ways = by_size(all, &Measured::both_ways);
  network.transfers = by_size(all, &Measured::transfers);
  if (network.transfers.empty()) return;
  // What was measured so far is between ranks of one process.
  network.inside = network.handover;
  const Link link = fit_link(network.transfers);
  network.handover = link.latency;
  network.bandwidth = link.bandwidth;
}

}  // namespace

Measurement pool_ops(Measurement measurement, std::span<const Calibration> rounds) {
  struct Lists {
    std::vector<OpTimes> alone, busy;
    std::vector<Quartiles> host;
    std::int32_t launches = 0;
  };
  std::map<std::pair<Stage, Kind>, Lists> ops;
  for (const Calibration& round : rounds) {
    for (const MeasuredOp& op : round.ops) {
      Lists& lists = ops[{op.stage, op.kind}];
      lists.alone.push_back(op.alone);
      lists.busy.push_back(op.busy);
      lists.host.push_back(op.host);
      lists.launches = op.launches;
    }
  }
  for (const auto& [key, lists] : ops) {
    measurement.ops.push_back({key.first, key.second, pooled(lists.alone), pooled(lists.busy), lists.launches, pooled(lists.host)});
  }
  return measurement;
}

Network pool_network(std::span<const Calibration> rounds) {
  std::vector<Quartiles> handover, sync;
  for (const Calibration& round : rounds) {
    handover.push_back(round.handover);
    sync.push_back(round.sync);
  }
  Network network{.handover = pooled(handover).median, .sync = pooled(sync).median};
  pool_transfers(rounds, network);
  return network;
}

Network pool_networks(std::span<const Network> networks) {
  std::vector<Nanos> handovers, syncs, insides;
  for (const Network& network : networks) {
    insides.push_back(network.inside);
    handovers.push_back(network.handover);
    syncs.push_back(network.sync);
  }
  Network all{.handover = quartiles(handovers).median, .sync = quartiles(syncs).median};
  pool_transfers(networks, all);
  if (!insides.empty()) all.inside = quartiles(insides).median;
  return all;
}

}  // namespace bubblescope
