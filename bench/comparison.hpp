// A comparison of two timelines as JSON, table and sentences.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "analysis/compare.hpp"
#include "analysis/table.hpp"

namespace bubblescope {

nlohmann::json comparison_json(const Comparison& comparison);
/// A row for all compute ops, one per kind, one per rank.
Table comparison_table(const Comparison& comparison);
/// Makespan, period and idle error; the first divergence; unmatched ops.
std::vector<std::string> comparison_notes(const Comparison& comparison);

}  // namespace bubblescope
