// What tests of schedules under costs share: requests with costs, and what comes of them in the simulator;
// the rows of the oracle table for searched schedules.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "sim/core/cost_list.hpp"
#include "sim/engine/memory.hpp"
#include "sim/engine/simulate.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "tests/sim/program_rows.hpp"

namespace bubblescope {

/// A request with the costs of `--cost` and the latency of `--latency`.
inline ScheduleShape searched_shape(std::int32_t ranks, std::int32_t microbatches, const std::string& cost, const std::string& latency,
                                    std::map<std::string, std::string> options = {}) {
  ScheduleShape shape{ranks, microbatches, std::move(options)};
  shape.costs = [list = parse_cost_list(cost)](const Program& placed) { return stage_costs(list, placed); };
  shape.cluster = uniform_cluster(ranks, {.latency = parse_duration(latency)});
  return shape;
}

/// What the simulator, not the search, says of a Program.
struct Outcome {
  Nanos makespan = 0;
  Nanos span = 0;
  std::vector<std::int32_t> peaks;
};

inline Outcome outcome_of(const Program& order, const ScheduleShape& shape) {
  const StageCosts costs = shape.costs(order);
  const Program program = add_send_recv(order);
  const Timeline timeline = simulate(program, costs, shape.cluster).timeline;
  Outcome outcome;
  outcome.makespan = timeline.makespan();
  for (const RankMemory& rank : memory_over_time(program, timeline, costs)) outcome.peaks.push_back(rank.peak_activations);
  std::vector<Nanos> first(static_cast<std::size_t>(order.ranks()), -1), last(first.size(), 0);
  for (const Span& span : timeline.spans) {
    if (!span.has_op || !is_compute(span.op.kind)) continue;
    const auto r = static_cast<std::size_t>(order.stage_rank[static_cast<std::size_t>(span.op.stage)]);
    if (first[r] < 0 || span.start < first[r]) first[r] = span.start;
    last[r] = std::max(last[r], span.end);
  }
  for (std::size_t r = 0; r < first.size(); ++r) outcome.span = std::max(outcome.span, last[r] - first[r]);
  return outcome;
}

/// A row of the oracle table.
struct SearchedRow {
  std::int32_t ranks, microbatches;
  std::string cost, latency;
  double makespan_ms, span_ms;
  std::vector<std::int32_t> peaks;
};

inline std::vector<SearchedRow> searched_rows(const std::string& schedule) {
  std::vector<SearchedRow> rows;
  std::ifstream in(oracles() / "schedules.csv");
  for (std::string line; std::getline(in, line);) {
    std::vector<std::string> cells;
    std::stringstream stream(line);
    for (std::string cell; std::getline(stream, cell, ',');) cells.push_back(cell);
    if (cells.at(0) != schedule) continue;
    SearchedRow row{std::stoi(cells[1]), std::stoi(cells[2]), "F=" + cells[4] + ",I=" + cells[5] + ",W=" + cells[6], cells[7],
                    std::stod(cells[8]), std::stod(cells[9]), {}};
    std::stringstream peaks(cells[12]);
    for (std::int32_t peak = 0; peaks >> peak;) row.peaks.push_back(peak);
    rows.push_back(row);
  }
  return rows;
}

/// Every row of the oracle table under `oracle` is reached or beaten; the number of rows.
inline std::size_t expect_oracle_rows_reached(const std::string& oracle, const std::string& schedule, const std::map<std::string, std::string>& options = {}) {
  const auto rows = searched_rows(oracle);
  for (const SearchedRow& row : rows) {
    const ScheduleShape shape = searched_shape(row.ranks, row.microbatches, row.cost, row.latency, options);
    const Outcome outcome = outcome_of(generate(find_schedule(schedule), shape), shape);
    const std::string what = oracle + " p=" + std::to_string(row.ranks) + " m=" + std::to_string(row.microbatches) + " latency " + row.latency;
    EXPECT_LE(static_cast<double>(outcome.makespan), row.makespan_ms * 1e6) << what;
    EXPECT_LE(static_cast<double>(outcome.span), row.span_ms * 1e6) << what;
    for (std::size_t r = 0; r < row.peaks.size(); ++r) EXPECT_LE(outcome.peaks[r], row.peaks[r]) << what << " rank " << r;
  }
  return rows.size();
}

}  // namespace bubblescope
