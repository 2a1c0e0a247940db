// Costs given by hand: `F=1,I=1,W=1`, `F=1:1:2:1,B=3ms`. Used by the command line and by scenarios with
// uniform costs.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/costs.hpp"
#include "sim/core/program.hpp"

namespace bubblescope {

/// What a cost can be given for: compute ops, OVERLAP_F_B by the name `FB`, and LOAD. Transfers take what
/// their link says.
const std::vector<std::string>& cost_kind_names();
/// The kind of one of those names.
std::optional<Kind> cost_kind(std::string_view name);

/// Kind -> one value, or one per rank, or one per stage in chain order. A value is the time of a
/// whole rank's share of one microbatch.
using CostList = std::map<Kind, std::vector<Nanos>>;

/// Reads `KIND=duration[:duration...],...`, with the kinds of `cost_kind_names`. Throws InputError that
/// names the part.
CostList parse_cost_list(std::string_view text);

/// The costs of `program`'s stages. With v chunks per rank a stage costs 1/v, rounded half up to
/// nanoseconds (stages of different chains each cost the full value). B is I + W unless given, and
/// where only B is given I and W are half of it each; LB is B and R is F unless given; what else is not
/// given costs nothing. Throws InputError where a list's length is neither 1, the ranks nor the stages.
StageCosts stage_costs(const CostList& list, const Program& program);

}  // namespace bubblescope
