// The report as JSON.
#include <nlohmann/json.hpp>

#include "analysis/comparison.hpp"
#include "analysis/report.hpp"

namespace bubblescope {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
Json maybe(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json json_of(const Bubbles& b) {
  return {{"makespan_ns", b.makespan}, {"span_ns", b.span},         {"period_ns", b.period},   {"idle_fraction", b.idle_fraction},
          {"overhead", b.overhead},    {"span_rate", b.span_rate},  {"internal", b.internal}};
}

Json json_of(const CriticalPath& p) {
  Json kinds = Json::object(), waits = Json::object(), links = Json::array();
  for (int k = 0; k < kKinds; ++k) {
    if (p.by_kind[k] > 0) kinds[std::string(mnemonic(static_cast<Kind>(k)))] = p.by_kind[k];
  }
  for (int w = 0; w < kWaits; ++w) {
    if (p.by_wait[w] > 0) waits[std::string(wait_name(static_cast<Wait>(w)))] = p.by_wait[w];
  }
  for (const LinkTime& link : p.by_link) links.push_back({{"from", link.from}, {"to", link.to}, {"ns", link.time}});
  return {{"length_ns", p.length}, {"compute_ns", p.compute}, {"wire_ns", p.wire},   {"other_ns", p.other},
          {"waiting_ns", p.waiting}, {"stages_ns", p.by_stage}, {"kinds_ns", kinds}, {"links", links},
          {"waits_ns", waits}};
}

Json json_of(const SideNumbers& side) {
  Json idle = Json::array();
  for (const auto& causes : side.idle) {
    Json rank = Json::object();
    for (int c = 0; c < kIdleCauses; ++c) rank[std::string(idle_cause_name(static_cast<IdleCause>(c)))] = causes[c];
    idle.push_back(std::move(rank));
  }
  Json json = {{"iteration_ns", side.iteration}, {"makespan_ns", side.makespan}};
  json["idle_fraction"] = side.idle_fraction >= 0 ? Json(side.idle_fraction) : Json(nullptr);
  json["speedup"] = maybe(side.speedup);
  json["repeats_ns"] = side.repeats;
  json["idle_repeats"] = side.idle_repeats;
  json["spread"] = nullptr;
  if (side.spread) {
    json["spread"] = {{"q1_ns", side.spread->first}, {"median_ns", side.spread->median}, {"q3_ns", side.spread->third}, {"count", side.spread->count}};
  }
  json["peak_bytes"] = side.peak_bytes.empty() ? Json(nullptr) : Json(side.peak_bytes);
  json["idle_ns"] = std::move(idle);
  json["bubble"] = side.bubbles ? json_of(*side.bubbles) : Json(nullptr);
  json["critical_path"] = side.path ? json_of(*side.path) : Json(nullptr);
  return json;
}

Json json_of(const std::vector<KernelUse>& uses) {
  Json list = Json::array();
  for (const KernelUse& use : uses) list.push_back({{"name", use.name}, {"launches", use.launches}, {"ns", use.time}});
  return list;
}

Json json_of(const KernelBreakdown& breakdown) {
  Json groups = Json::array();
  for (const KernelGroup& g : breakdown.groups) {
    groups.push_back({{"rank", g.rank}, {"stage", g.stage}, {"kind", mnemonic(g.kind)}, {"ops", g.ops}, {"kernels", g.kernels},
                      {"copies", g.copies}, {"bytes", g.bytes}, {"op_ns", g.op_time}, {"kernel_ns", g.kernel_time}, {"copy_ns", g.copy_time},
                      {"gap_ns", g.gap_time}, {"issuing_ns", g.issuing_time}, {"outside_ns", g.outside_time}, {"launch_bound", g.launch_bound()},
                      {"longest", json_of(g.longest)}});
  }
  return {{"groups", std::move(groups)}, {"longest", json_of(breakdown.longest)}};
}

Json json_of(const ScheduleReport& s) {
  Json json = {{"label", s.label}, {"schedule", s.schedule}, {"ranks", s.ranks}, {"microbatches", s.microbatches}};
  json["samples"] = s.samples > 0 ? Json(s.samples) : Json(nullptr);
  json["failure"] = s.failure.empty() ? Json(nullptr) : Json(s.failure);
  json["predicted"] = s.predicted ? json_of(*s.predicted) : Json(nullptr);
  json["measured"] = s.measured ? json_of(*s.measured) : Json(nullptr);
  json["error"] = {{"iteration", maybe(s.error)}, {"idle_points", maybe(s.idle_points)}};
  json["comparison"] = s.comparison ? comparison_json(*s.comparison) : Json(nullptr);
  if (s.kernels) json["kernels"] = json_of(*s.kernels);
  json["sensitivity"] = Json::array();
  for (const Sensitivity& gain : s.sensitivity) {
    json["sensitivity"].push_back({{"what", gain.what}, {"makespan_ns", gain.makespan}, {"gain_ns", gain.gain}});
  }
  json["published"] = nullptr;
  if (s.published) json["published"] = {{"text", s.published->text}, {"speedup", maybe(s.published->speedup)}};
  return json;
}

}  // namespace

std::string report_json(const ReportModel& model) {
  Json json = {{"schema_version", 1},       {"title", model.title}, {"command", model.command},
               {"date", model.date},        {"machine", model.machine}, {"notes", model.notes},
               {"partial", model.partial},
               {"baseline", model.baseline.empty() ? Json(nullptr) : Json(model.baseline)},
               {"sensitivity_percent", model.sensitivity_percent},  {"scenario", model.scenario}};
  json["results"] = Json::array();
  for (const ScheduleReport& schedule : model.schedules) json["results"].push_back(json_of(schedule));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace bubblescope
