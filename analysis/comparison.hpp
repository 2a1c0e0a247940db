// A comparison of two Timelines as JSON, table and sentences, for reports and for `bubblescope compare`.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "analysis/compare.hpp"
#include "analysis/table.hpp"

namespace bubblescope {

/// All numbers of it; times in integer nanoseconds, errors as fractions, `idle_points` in percentage
/// points. The first Timeline is called predicted, the second measured.
nlohmann::ordered_json comparison_json(const Comparison& comparison);
/// Errors of durations: a row for all compute ops, one per kind of them, one per rank.
Table error_table(const Comparison& comparison);
/// Makespan, period and idle error; the first divergence; unmatched ops.
std::vector<std::string> comparison_lines(const Comparison& comparison);

}  // namespace bubblescope
