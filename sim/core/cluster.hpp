// Cluster: the machine a Program runs on: devices, their links, what ranks share.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/core/op.hpp"

namespace bubblescope {

/// One rank's device.
struct DeviceSpec {
  std::string name = "device";
  double flops = 0;              ///< peak FLOP/s at the training precision; 0 unknown
  double memory_bandwidth = 0;   ///< bytes/s; 0 unknown
  std::int64_t memory_bytes = 0; ///< capacity; 0 unknown (never reported as exceeded)
  Nanos launch = 0;              ///< host time per kernel launch; 0: launches cost nothing
  std::int32_t run_ahead = 0;    ///< ops the host may be ahead of the device; 0: any number
  std::vector<std::int32_t> cores;  ///< shared compute units it is pinned to; empty: its own
};

/// A way between two ranks.
struct Link {
  Nanos latency = 0;
  double bandwidth = 0;  ///< bytes/s; 0: infinite
  /// Queues (holding sends, receives at use) go through host memory: the sender's compute stream copies
  /// out before it offers, the receiver's copies in after it has received, each at so many bytes/s, and
  /// only the latency lies between. 0: not so, entries take the link like all transfers.
  double staging = 0;

  /// Latency plus bytes over bandwidth, rounded up to nanoseconds.
  Nanos transfer(std::int64_t bytes) const;
  /// What lies between the two ends of a queue.
  Nanos queue_transfer(std::int64_t bytes) const { return staging > 0 ? latency : transfer(bytes); }
  /// One of the two copies, rounded up to nanoseconds; 0 without staging.
  Nanos copy(std::int64_t bytes) const;
};

/// Devices by rank and the links between them.
struct Cluster {
  std::string name = "cluster";
  std::vector<DeviceSpec> devices;  ///< rank -> device
  Link link;                    ///< between any two ranks ...
  std::vector<Link> links;      ///< ... or, where not empty, [from * ranks + to]
  Nanos sync = 0;               ///< what a barrier costs after the last rank has come

  std::int32_t ranks() const { return static_cast<std::int32_t>(devices.size()); }
  const Link& between(Rank from, Rank to) const;
  /// What an all-reduce of `bytes` over `ranks` takes after the last has come, as a ring in the order given:
  /// 2 (n - 1) steps, each of which sends an n-th of the bytes to the next rank and lasts as long as the
  /// slowest link takes for it, so 2 (n - 1) latency + 2 (n - 1) / n bytes / bandwidth. Patarasuk and Yuan,
  /// "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 2009.
  Nanos all_reduce(std::span<const Rank> ranks, std::int64_t bytes) const;
  /// Whether some core belongs to two devices, so that their ranks compete for it.
  bool shares_cores() const;
};

/// What each of `members` ranks sends in a ring all-reduce of `bytes`: 2 (n - 1) n-ths of them, rounded up.
std::int64_t all_reduce_bytes(std::size_t members, std::int64_t bytes);

/// `ranks` equal devices that share nothing, joined by `link`.
Cluster uniform_cluster(std::int32_t ranks, Link link = {});

}  // namespace bubblescope
