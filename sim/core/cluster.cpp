// Cluster lookups.
#include "sim/core/cluster.hpp"

#include <algorithm>
#include <cmath>
#include <set>

namespace bubblescope {

namespace {

Nanos time_of(std::int64_t bytes, double bandwidth) {
  if (bandwidth <= 0) return 0;
  return static_cast<Nanos>(std::min(std::ceil(static_cast<double>(bytes) * 1e9 / bandwidth), static_cast<double>(kLongest)));
}

/// An n-th of the bytes, rounded up.
std::int64_t share(std::size_t count, std::int64_t bytes) {
  const auto n = static_cast<std::int64_t>(count);
  return bytes / n + (bytes % n > 0 ? 1 : 0);
}

}  // namespace

Nanos Link::transfer(std::int64_t bytes) const { return latency + time_of(bytes, bandwidth); }

Nanos Link::copy(std::int64_t bytes) const { return time_of(bytes, staging); }

const Link& Cluster::between(Rank from, Rank to) const {
  return links.empty() ? link : links[static_cast<std::size_t>(from) * devices.size() + static_cast<std::size_t>(to)];
}

Nanos Cluster::all_reduce(std::span<const Rank> ranks, std::int64_t bytes) const {
  const std::size_t count = ranks.size();
  if (count < 2) return 0;
  Nanos step = 0;
  for (std::size_t i = 0; i < count; ++i) step = std::max(step, between(ranks[i], ranks[(i + 1) % count]).transfer(share(count, bytes)));
  return static_cast<Nanos>(std::min(2.0 * static_cast<double>(count - 1) * static_cast<double>(step), static_cast<double>(kLongest)));
}

bool Cluster::shares_cores() const {
  std::set<std::int32_t> seen;
  for (const DeviceSpec& device : devices) {
    for (const std::int32_t core : device.cores) {
      if (!seen.insert(core).second) return true;
    }
  }
  return false;
}

std::int64_t all_reduce_bytes(std::size_t members, std::int64_t bytes) {
  return members < 2 ? 0 : 2 * static_cast<std::int64_t>(members - 1) * share(members, bytes);
}

Cluster uniform_cluster(std::int32_t ranks, Link link) {
  Cluster cluster;
  cluster.devices.resize(static_cast<std::size_t>(ranks));
  cluster.link = link;
  return cluster;
}

}  // namespace bubblescope
