// Profiles: durations measured by `bubblescope calibrate` on a machine, kept as JSON, and read again as
// Costs by predictions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/cluster.hpp"
#include "sim/core/costs.hpp"
#include "sim/core/quartiles.hpp"

namespace bubblescope {

/// How long an op took.
struct OpTimes : Quartiles {
  Nanos mean = 0;  ///< over walks of the row, each with the mean of its ops (fenced_mean); of several rounds the median; 0: not known

  /// What an op takes in a row of many: the mean, as times add up; the median where that is all that is known.
  Nanos expected() const { return mean > 0 ? mean : median; }
  friend bool operator==(const OpTimes&, const OpTimes&) = default;
};

/// One (stage, kind) as it was measured.
struct MeasuredOp {
  Stage stage = 0;
  Kind kind = Kind::F;
  OpTimes alone;  ///< with the other ranks idle
  OpTimes busy;   ///< with as many other ranks at work as have cores of their own; count 0: not measured
  std::int32_t launches = 0;
  Quartiles host{};         ///< time the host needed to issue it, with the others at work; count 0: it does not issue

  /// What it is expected to take busy over alone; 1 where either is unknown.
  double busy_factor() const;
  friend bool operator==(const MeasuredOp&, const MeasuredOp&) = default;
};

/// One schedule's ops at one microbatch size.
struct Measurement {
  std::string schedule;      ///< the schedule's label in the scenario
  std::int64_t samples = 1;  ///< per microbatch
  std::int32_t stages = 0;
  std::vector<MeasuredOp> ops;
  friend bool operator==(const Measurement&, const Measurement&) = default;
};

/// Messages of one size, from one rank to another.
struct MeasuredTransfer {
  std::int64_t bytes = 0;
  Quartiles time;  ///< from the end of the op that made it to the start of what waited for it
  friend bool operator==(const MeasuredTransfer&, const MeasuredTransfer&) = default;
};

/// latency + bytes / bandwidth, fitted by least squares of the relative error to the medians. Where the
/// sizes make no difference to speak of (below a twentieth of the latency over all of them) the bandwidth is 0, infinite.
/// None: {0, 0}.
Link fit_link(std::span<const MeasuredTransfer> transfers);

/// Messages between two ranks.
struct MessageTimes {
  std::vector<MeasuredTransfer> one_way;   ///< by size
  std::vector<MeasuredTransfer> both_ways; ///< likewise, with as large a message the other way at the same time
  friend bool operator==(const MessageTimes&, const MessageTimes&) = default;
};

/// How the ranks of several processes reach each other. The processes share the ranks evenly, neighbours together.
struct ProcessLinks {
  std::int32_t processes = 1;
  Link across;              ///< between two processes, on different hosts where there are several
  Link beside{};            ///< between two processes of one host, where there are several hosts
  Nanos inside = 0;         ///< what a hand-over within a process takes, whatever the size
  std::vector<std::int32_t> hosts{};  ///< of every process, numbers from 0; empty: all have one host
};

/// Gives the ranks of `cluster` their links. One process: `across` everywhere.
void join_ranks(Cluster& cluster, const ProcessLinks& links);

/// All that was measured on one machine. (`Profile` is the dependency rule of a Program.)
struct CostProfile {
  std::string scenario;
  std::string date;  ///< ISO 8601, UTC
  std::string cpu;   ///< model name
  std::int32_t cores = 0;
  std::map<std::string, std::string> versions;  ///< software -> version
  std::string device;      ///< what computes, where it is not the processor
  std::string placement;   ///< what ranks have of it, as granted
  std::string channel;     ///< between ranks in different processes: `MPI`; empty: one process has all
  std::int32_t processes = 1;  ///< that share the ranks evenly, neighbours together
  Nanos link_latency = 0;  ///< hand-over between two ranks (in different processes), with what the receiver takes to notice
  double link_bandwidth = 0;  ///< bytes/s; 0: messages of all sizes take the same
  Nanos inside_latency = 0;   ///< hand-over between two ranks of a process, where there are several processes
  MessageTimes messages;      ///< where they were measured
  std::vector<std::int32_t> hosts;  ///< of every process, numbers from 0, where there are several; the link is between two of them then
  MessageTimes beside;        ///< likewise, between two processes of one host
  Nanos sync = 0;          ///< what a barrier costs after the last rank has come
  std::vector<Measurement> measurements;

  /// Gives the ranks of `cluster` the measured links.
  void join(Cluster& cluster) const { join_ranks(cluster, {processes, {link_latency, link_bandwidth}, beside_link(), inside_latency, hosts}); }
  /// Between two processes of one host; where that was not measured, the link.
  Link beside_link() const { return beside.one_way.empty() ? Link{link_latency, link_bandwidth} : fit_link(beside.one_way); }
  friend bool operator==(const CostProfile&, const CostProfile&) = default;
};

/// Durations (expected, alone), busy factors and spreads, as costs; bytes are not part of a profile. R costs what F
/// does where it was not measured.
StageCosts stage_costs(const Measurement& measurement);

/// The costs of one schedule at every size that was measured. Throws InputError where the profile has
/// nothing for `schedule`, naming what it has.
Costs costs_of(const CostProfile& profile, std::string_view schedule);

/// JSON, schema version 1, times in integer nanoseconds. Reading throws InputError that names the file
/// and the key; writing goes to a temporary name first, so a file of the final name is whole.
std::string profile_to_json(const CostProfile& profile);
CostProfile profile_from_json(std::string_view text, const std::string& file);
void write_profile(const CostProfile& profile, const std::filesystem::path& file);
CostProfile read_profile(const std::filesystem::path& file);

}  // namespace bubblescope
