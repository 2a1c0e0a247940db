// Profiles as JSON and as Costs.
#include "sim/core/profile.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "sim/core/error.hpp"
#include "sim/core/index.hpp"
#include "sim/core/json_reader.hpp"
#include "sim/core/read_file.hpp"
#include "sim/core/write_file.hpp"

namespace bubblescope {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Quartiles& q) {
  return {{"first", q.first}, {"median", q.median}, {"third", q.third}, {"count", q.count}};
}

Json to_json(const OpTimes& times) {
  Json json = to_json(static_cast<const Quartiles&>(times));
  if (times.mean > 0) json["mean"] = times.mean;
  return json;
}

Quartiles read_quartiles(const JsonReader& reader) {
  Quartiles q;
  q.first = reader.at("first").number(0, kLongest);
  q.median = reader.at("median").number(q.first, kLongest);
  q.third = reader.at("third").number(q.median, kLongest);
  q.count = reader.at("count").number(0);
  return q;
}

OpTimes read_times(const JsonReader& reader) {
  OpTimes times{read_quartiles(reader)};
  if (reader.has("mean")) times.mean = reader.at("mean").number(0, kLongest);
  return times;
}

Json transfers_json(const std::vector<MeasuredTransfer>& transfers) {
  Json list = Json::array();
  for (const MeasuredTransfer& transfer : transfers) list.push_back({{"bytes", transfer.bytes}, {"time", to_json(transfer.time)}});
  return list;
}

std::vector<MeasuredTransfer> read_transfers(const JsonReader& reader) {
  std::vector<MeasuredTransfer> transfers;
  for (const JsonReader& item : reader.items()) transfers.push_back({item.at("bytes").number(0), read_quartiles(item.at("time"))});
  return transfers;
}

Measurement read_measurement(const JsonReader& reader) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int16_t>::max();
  Measurement measurement;
  measurement.schedule = reader.at("schedule").text();
  measurement.samples = reader.at("samples").number(1);
  measurement.stages = static_cast<std::int32_t>(reader.at("stages").number(1, kMost));
  for (const JsonReader& item : reader.at("ops").items()) {
    MeasuredOp op;
    op.stage = static_cast<Stage>(item.at("stage").number(0, measurement.stages - 1));
    const auto kind = kind_from_mnemonic(item.at("kind").text());
    if (!kind) item.at("kind").refuse("the name of an op's kind, such as F, B or LB");
    op.kind = *kind;
    op.alone = read_times(item.at("alone"));
    op.busy = read_times(item.at("busy"));
    op.launches = static_cast<std::int32_t>(item.at("launches").number(0, std::numeric_limits<std::int32_t>::max()));
    if (item.has("host")) op.host = read_quartiles(item.at("host"));
    measurement.ops.push_back(op);
  }
  return measurement;
}

}  // namespace

double MeasuredOp::busy_factor() const {
  if (busy.count == 0 || busy.expected() <= 0 || alone.expected() <= 0) return 1.0;
  return static_cast<double>(busy.expected()) / static_cast<double>(alone.expected());
}

Link fit_link(std::span<const MeasuredTransfer> transfers) {
  // Weights 1 / time^2: the sum of squared relative errors.
  double weights = 0, bytes = 0, times = 0;
  for (const MeasuredTransfer& transfer : transfers) {
    const double time = std::max(1.0, static_cast<double>(transfer.time.median)), weight = 1 / (time * time);
    weights += weight;
    bytes += weight * static_cast<double>(transfer.bytes);
    times += weight * time;
  }
  if (weights <= 0) return {};
  const double mean_bytes = bytes / weights, mean_time = times / weights;
  double square = 0, product = 0, largest = 0;
  for (const MeasuredTransfer& transfer : transfers) {
    const double time = std::max(1.0, static_cast<double>(transfer.time.median)), weight = 1 / (time * time);
    const double size = static_cast<double>(transfer.bytes) - mean_bytes;
    square += weight * size * size;
    product += weight * size * (time - mean_time);
    largest = std::max(largest, static_cast<double>(transfer.bytes));
  }
  const double per_byte = square > 0 ? product / square : 0;
  const double latency = std::max(0.0, mean_time - per_byte * mean_bytes);
  if (per_byte * largest <= 0.05 * latency) return {static_cast<Nanos>(std::llround(mean_time)), 0};
  return {static_cast<Nanos>(std::llround(latency)), 1e9 / per_byte};
}

void join_ranks(Cluster& cluster, const ProcessLinks& links) {
  const std::int32_t processes = links.processes;
  cluster.link = links.across;
  cluster.links.clear();
  const std::int32_t ranks = cluster.ranks();
  if (processes < 2 || ranks < processes || ranks % processes != 0) return;
  const std::int32_t each = ranks / processes;
  const bool several_hosts = links.hosts.size() == at(processes) && std::set(links.hosts.begin(), links.hosts.end()).size() > 1;
  if (each == 1 && !several_hosts) return;
  const auto between = [&](std::int32_t from, std::int32_t to) {
    if (from == to) return Link{links.inside, 0};
    return several_hosts && links.hosts[at(from)] == links.hosts[at(to)] ? links.beside : links.across;
  };
  for (Rank from = 0; from < ranks; ++from) {
    for (Rank to = 0; to < ranks; ++to) cluster.links.push_back(between(from / each, to / each));
  }
}

StageCosts stage_costs(const Measurement& measurement) {
  StageCosts costs(measurement.stages);
  const auto cost = [](const MeasuredOp& op) { return OpCost{op.alone.expected(), op.busy_factor(), op.alone.spread(), op.launches, op.host.median}; };
  for (const MeasuredOp& op : measurement.ops) {
    if (op.kind == Kind::F) costs.at(op.stage, Kind::R) = cost(op);
  }
  for (const MeasuredOp& op : measurement.ops) {
    if (op.kind == Kind::OVERLAP_F_B) {
      costs.overlap(op.stage) = cost(op);
    } else {
      costs.at(op.stage, op.kind) = cost(op);
    }
  }
  return costs;
}

Costs costs_of(const CostProfile& profile, std::string_view schedule) {
  Costs costs;
  costs.source = fmt::format("profile of {}, {}", profile.cpu, profile.date);
  std::set<std::string> known;
  for (const Measurement& measurement : profile.measurements) {
    known.insert('\'' + measurement.schedule + '\'');
    if (measurement.schedule == schedule) costs.by_size[measurement.samples] = stage_costs(measurement);
  }
  if (costs.by_size.empty()) {
    std::string names;
    for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
    throw ShapeError(fmt::format("the profile has no measurement of '{}'; it has {}", schedule, names.empty() ? "none at all" : names));
  }
  return costs;
}

std::string profile_to_json(const CostProfile& profile) {
  Json root = {{"schema_version", 1},
               {"scenario", profile.scenario},
               {"date", profile.date},
               {"machine", {{"cpu", profile.cpu}, {"cores", profile.cores}, {"device", profile.device}, {"placement", profile.placement}}},
               {"versions", Json::object()},
               {"link", {{"latency", profile.link_latency}, {"bandwidth", std::llround(profile.link_bandwidth)}, {"transfers", transfers_json(profile.messages.one_way)}}},
               {"sync", profile.sync},
               {"measurements", Json::array()}};
  for (const auto& [software, version] : profile.versions) root["versions"][software] = version;
  if (profile.processes > 1) {
    root["link"]["channel"] = profile.channel;
    root["link"]["processes"] = profile.processes;
    root["link"]["inside_latency"] = profile.inside_latency;
    root["link"]["both_ways"] = transfers_json(profile.messages.both_ways);
  }
  if (!profile.hosts.empty()) root["link"]["hosts"] = profile.hosts;
  if (!profile.beside.one_way.empty()) {
    root["link"]["beside"] = {{"transfers", transfers_json(profile.beside.one_way)}, {"both_ways", transfers_json(profile.beside.both_ways)}};
  }
  for (const Measurement& measurement : profile.measurements) {
    Json ops = Json::array();
    for (const MeasuredOp& op : measurement.ops) {
      ops.push_back({{"stage", op.stage}, {"kind", mnemonic(op.kind)}, {"alone", to_json(op.alone)}, {"busy", to_json(op.busy)}, {"launches", op.launches}});
      if (op.host.count > 0) ops.back()["host"] = to_json(op.host);
    }
    root["measurements"].push_back(
        {{"schedule", measurement.schedule}, {"samples", measurement.samples}, {"stages", measurement.stages}, {"ops", std::move(ops)}});
  }
  return root.dump(1) + "\n";
}

CostProfile profile_from_json(std::string_view text, const std::string& file) {
  const nlohmann::json json = parse_json(text, file, "a profile");
  const JsonReader root(json, "", file);
  root.at("schema_version").number(1, 1);
  CostProfile profile;
  profile.scenario = root.at("scenario").text();
  profile.date = root.at("date").text();
  profile.cpu = root.at("machine").at("cpu").text();
  profile.cores = static_cast<std::int32_t>(root.at("machine").at("cores").number(0, std::numeric_limits<std::int32_t>::max()));
  // What older files lack was not measured.
  if (root.at("machine").has("device")) profile.device = root.at("machine").at("device").text();
  if (root.at("machine").has("placement")) profile.placement = root.at("machine").at("placement").text();
  profile.versions = root.at("versions").texts();
  const JsonReader link = root.at("link");
  profile.link_latency = link.at("latency").number(0, kLongest);
  if (link.has("bandwidth")) profile.link_bandwidth = static_cast<double>(link.at("bandwidth").number(0));
  if (link.has("transfers")) profile.messages.one_way = read_transfers(link.at("transfers"));
  if (link.has("channel")) profile.channel = link.at("channel").text();
  if (link.has("processes")) profile.processes = static_cast<std::int32_t>(link.at("processes").number(1, std::numeric_limits<std::int32_t>::max()));
  if (link.has("inside_latency")) profile.inside_latency = link.at("inside_latency").number(0, kLongest);
  if (link.has("both_ways")) profile.messages.both_ways = read_transfers(link.at("both_ways"));
  if (link.has("hosts")) {
    for (const JsonReader& host : link.at("hosts").items()) profile.hosts.push_back(static_cast<std::int32_t>(host.number(0, profile.processes - 1)));
    if (profile.hosts.size() != at(profile.processes)) {
      throw InputError(fmt::format("{}: 'link.hosts' names {} hosts for {} processes; expected one for each", file, profile.hosts.size(), profile.processes));
    }
  }
  if (link.has("beside")) profile.beside = {read_transfers(link.at("beside").at("transfers")), read_transfers(link.at("beside").at("both_ways"))};
  profile.sync = root.at("sync").number(0, kLongest);
  std::map<std::pair<std::string, std::int64_t>, std::size_t> seen;  // schedule and size -> its measurement
  for (const JsonReader& item : root.at("measurements").items()) {
    const Measurement& measurement = profile.measurements.emplace_back(read_measurement(item));
    const std::size_t number = profile.measurements.size() - 1;
    const auto [first, added] = seen.try_emplace({measurement.schedule, measurement.samples}, number);
    if (added) continue;
    throw InputError(fmt::format("{}: 'measurements[{}]' is of '{}' with {} samples, as 'measurements[{}]' is; expected every schedule and size once", file,
                                 number, measurement.schedule, measurement.samples, first->second));
  }
  return profile;
}

void write_profile(const CostProfile& profile, const std::filesystem::path& file) { write_file(file, profile_to_json(profile)); }

CostProfile read_profile(const std::filesystem::path& file) {
  return profile_from_json(read_file(file, "a profile in JSON"), file.string());
}

}  // namespace bubblescope
