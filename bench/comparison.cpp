// Comparisons for people and programs.
#include "bench/comparison.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "analysis/report.hpp"

namespace bubblescope {
namespace {

nlohmann::json stats_json(const ErrorStats& stats) {
  return {{"count", stats.count}, {"median", stats.median}, {"p90", stats.p90}, {"max", stats.max}, {"bias", stats.bias}};
}

std::vector<std::string> stats_row(const std::string& what, const ErrorStats& stats) {
  return {what, std::to_string(stats.count), percent(stats.median), percent(stats.p90),
          percent(stats.max), signed_percent(stats.bias)};
}

}  // namespace

nlohmann::json comparison_json(const Comparison& comparison) {
  nlohmann::json kinds = nlohmann::json::object();
  for (const KindError& kind : comparison.kinds) kinds[std::string(mnemonic(kind.kind))] = stats_json(kind.duration);
  nlohmann::json ranks = nlohmann::json::array();
  for (const ErrorStats& rank : comparison.ranks) ranks.push_back(stats_json(rank));
  nlohmann::json result = {{"matched", comparison.matched.size()}, {"only_in_a", comparison.only_in_a}, {"only_in_b", comparison.only_in_b},
                           {"unmatched", comparison.unmatched}, {"ops", stats_json(comparison.ops)}, {"kinds", kinds}, {"ranks", ranks},
                           {"makespan_error", comparison.makespan_error}, {"period_error", comparison.period_error},
                           {"idle_points", comparison.idle_points}, {"rank_idle_points", comparison.rank_idle_points}, {"divergence", nullptr}};
  if (comparison.divergence) {
    result["divergence"] = {{"difference_ns", comparison.divergence->difference}, {"reason", divergence_name(comparison.divergence->reason)}, {"text", comparison.divergence->text}};
  }
  return result;
}

Table comparison_table(const Comparison& comparison) {
  Table table;
  table.columns = {{"durations", Align::left}, {"ops", Align::right}, {"median error", Align::right}, {"p90", Align::right}, {"max", Align::right}, {"bias", Align::right}};
  table.rows.push_back(stats_row("all compute ops", comparison.ops));
  for (const KindError& kind : comparison.kinds) table.rows.push_back(stats_row(std::string(mnemonic(kind.kind)), kind.duration));
  for (std::size_t r = 0; r < comparison.ranks.size(); ++r) table.rows.push_back(stats_row(fmt::format("rank {}", r), comparison.ranks[r]));
  return table;
}

std::vector<std::string> comparison_notes(const Comparison& comparison) {
  std::vector<std::string> notes;
  notes.push_back(fmt::format("makespan {}, iteration time {}, idle fraction {:+.1f} points", signed_percent(comparison.makespan_error),
                              signed_percent(comparison.period_error), comparison.idle_points));
  notes.push_back(comparison.divergence ? "first divergence: " + comparison.divergence->text : "the timelines do not diverge");
  if (comparison.only_in_a + comparison.only_in_b > 0) {
    notes.push_back(fmt::format("not matched: {} ops only in a, {} only in b: {}", comparison.only_in_a, comparison.only_in_b, fmt::join(comparison.unmatched, "; ")));
  }
  return notes;
}

}  // namespace bubblescope
