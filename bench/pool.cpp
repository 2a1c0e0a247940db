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

using BySize = std::map<std::int64_t, std::vector<Quartiles>>;

void add_to(BySize& all, const std::vector<MeasuredTransfer>& transfers) {
  for (const MeasuredTransfer& transfer : transfers) all[transfer.bytes].push_back(transfer.time);
}

std::vector<MeasuredTransfer> pooled(const BySize& all) {
  std::vector<MeasuredTransfer> transfers;
  for (const auto& [bytes, times] : all) transfers.push_back({bytes, pooled(times)});
  return transfers;
}

template <typename Measured>
MessageTimes pooled_messages(std::span<const Measured> all, MessageTimes Measured::* which) {
  BySize one_way, both_ways;
  for (const Measured& one : all) add_to(one_way, (one.*which).one_way), add_to(both_ways, (one.*which).both_ways);
  return {pooled(one_way), pooled(both_ways)};
}

/// Gives `network` the messages of all of these by size, and the latency and bandwidth that belong to them together.
template <typename Measured>
void pool_links(std::span<const Measured> all, Network& network) {
  network.messages = pooled_messages(all, &Measured::messages);
  network.beside = pooled_messages(all, &Measured::beside);
  if (network.messages.one_way.empty()) return;
  // What was measured so far is between ranks of one process.
  network.inside = network.handover;
  const Link link = fit_link(network.messages.one_way);
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
  pool_links(rounds, network);
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
  pool_links(networks, all);
  if (!insides.empty()) all.inside = quartiles(insides).median;
  return all;
}

}  // namespace bubblescope
