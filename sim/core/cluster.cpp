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

}  // namespace

Nanos Link::transfer(std::int64_t bytes) const { return latency + time_of(bytes, bandwidth); }

Nanos Link::copy(std::int64_t bytes) const { return time_of(bytes, staging); }

const Link& Cluster::between(Rank from, Rank to) const {
  return links.empty() ? link : links[static_cast<std::size_t>(from) * devices.size() + static_cast<std::size_t>(to)];
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

Cluster uniform_cluster(std::int32_t ranks, Link link) {
  Cluster cluster;
  cluster.devices.resize(static_cast<std::size_t>(ranks));
  cluster.link = link;
  return cluster;
}

}  // namespace bubblescope
