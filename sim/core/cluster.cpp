// Cluster lookups.
#include "sim/core/cluster.hpp"

#include <cmath>
#include <set>

namespace bubblescope {

Nanos Link::transfer(std::int64_t bytes) const {
  if (bandwidth <= 0) return latency;
  return latency + static_cast<Nanos>(std::ceil(static_cast<double>(bytes) / bandwidth * 1e9));
}

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
