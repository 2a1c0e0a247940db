// Comparisons for people and programs.
#include "analysis/comparison.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "analysis/report.hpp"

namespace bubblescope {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const ErrorStats& e) {
  return {{"ops", e.count}, {"median", e.median}, {"p90", e.p90}, {"max", e.max}, {"bias", e.bias}};
}

}  // namespace

Json comparison_json(const Comparison& c) {
  Json kinds = Json::object(), ranks = Json::array();
  for (const KindError& kind : c.kinds) kinds[std::string(mnemonic(kind.kind))] = json_of(kind.duration);
  for (const ErrorStats& rank : c.ranks) ranks.push_back(json_of(rank));
  Json json = {{"a", c.a},
               {"b", c.b},
               {"matched", c.matched.size()},
               {"only_in_a", c.only_in_a},
               {"only_in_b", c.only_in_b},
               {"unmatched", c.unmatched},
               {"ops", json_of(c.ops)},
               {"kinds", std::move(kinds)},
               {"ranks", std::move(ranks)},
               {"makespan_error", c.makespan_error},
               {"period_error", c.period_error},
               {"idle_points", c.idle_points},
               {"rank_idle_points", c.rank_idle_points},
               {"divergence", nullptr}};
  if (c.divergence) {
    json["divergence"] = {{"reason", divergence_name(c.divergence->reason)},
                          {"difference_ns", c.divergence->difference},
                          {"text", c.divergence->text}};
  }
  return json;
}

Table error_table(const Comparison& c) {
  Table table{{{"duration of"},
               {"ops", Align::right},
               {"median error", Align::right},
               {"90th percentile", Align::right},
               {"largest", Align::right},
               {"bias", Align::right}},
              {}};
  const auto add = [&](const std::string& name, const ErrorStats& e) {
    table.rows.push_back({name, std::to_string(e.count), percent(e.median), percent(e.p90), percent(e.max), signed_percent(e.bias)});
  };
  add("all compute ops", c.ops);
  for (const KindError& kind : c.kinds) {
    if (is_compute(kind.kind)) add(std::string(mnemonic(kind.kind)), kind.duration);
  }
  for (std::size_t rank = 0; rank < c.ranks.size(); ++rank) add(fmt::format("rank {}", rank), c.ranks[rank]);
  return table;
}

std::vector<std::string> comparison_lines(const Comparison& c) {
  std::vector<std::string> lines;
  lines.push_back(fmt::format("Timelines shown: makespan {}, period {}, idle fraction {} ({} against {}).",
                              signed_percent(c.makespan_error), signed_percent(c.period_error), points(c.idle_points), c.a, c.b));
  lines.push_back(c.divergence ? "They first part ways where " + c.divergence->text + "." : "They do not part ways.");
  if (c.only_in_a + c.only_in_b > 0) {
    lines.push_back(fmt::format("{} ops were matched; {} are only in the first ({}), {} only in the second ({}):",
                                c.matched.size(), c.only_in_a, c.a, c.only_in_b, c.b));
    for (const std::string& op : c.unmatched) lines.push_back(op);
  }
  return lines;
}

}  // namespace bubblescope
