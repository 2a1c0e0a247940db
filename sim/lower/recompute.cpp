// Placing R, row by row.
#include "sim/lower/recompute.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "sim/core/error.hpp"
#include "sim/core/index.hpp"
#include "sim/core/op_table.hpp"

namespace bubblescope {
namespace {

constexpr std::string_view kAll = "all";

/// Stage -> whether it is at one of those positions of its chain.
std::vector<bool> chosen_stages(const Program& program, std::string_view stages) {
  std::vector<bool> chosen(program.stage_rank.size(), false);
  for (const auto& chain : program.chains) {
    for (const std::int32_t position : recompute_positions(stages, static_cast<std::int64_t>(chain.size()))) chosen[at(chain[at(position)])] = true;
  }
  return chosen;
}

class Recompute {
 public:
  Recompute(const Program& program, std::string_view stages) : program_(program), table_(program), chosen_(chosen_stages(program, stages)) {}

  /// Row `r` with its R, and `overlap`, in which ops count that come with them.
  std::vector<Op> row(Rank r, std::vector<std::int32_t>& overlap) const {
    const auto& row = program_.rows[at(r)];
    const std::vector<std::int32_t> before = std::move(overlap);
    overlap.clear();
    const auto ops = std::count_if(row.begin(), row.end(), [](const Op& op) { return !is_p2p(op.kind); });
    const std::size_t tail = at(ops) - before.size();
    std::vector<std::int32_t> added{0};  // R before the row's first n ops, transfers not counted
    std::vector<Op> result;
    result.reserve(2 * row.size());
    for (const Op& op : row) {
      const std::vector<Op> again = recomputes(op);
      auto place = result.end();
      while (!again.empty() && place != result.begin() && is_recv((place - 1)->kind)) --place;
      result.insert(place, again.begin(), again.end());
      result.push_back(op);
      if (is_p2p(op.kind)) continue;
      const std::size_t number = added.size() - 1;
      added.push_back(added.back() + static_cast<std::int32_t>(again.size()));
      if (number < tail) continue;
      const std::int32_t next = before[number - tail];
      overlap.insert(overlap.end(), 1 + again.size(), next + added[std::min(at(next), number)]);
    }
    return result;
  }

 private:
  /// The R that have to come before `op`.
  std::vector<Op> recomputes(const Op& op) const {
    std::vector<Op> result;
    for (const Op& part : program_.parts_of(op)) {
      const auto has = [&](Kind kind) { return table_.find(kind, part.stage, part) >= 0; };
      const bool first = part.kind == Kind::A || (is_backward(part.kind) && !has(Kind::A));
      if (!first || !chosen_[at(part.stage)] || has(Kind::R)) continue;
      result.push_back(part);
      result.back().kind = Kind::R;
    }
    return result;
  }

  const Program& program_;
  const OpTable table_;
  const std::vector<bool> chosen_;
};

}  // namespace

std::vector<std::int32_t> recompute_positions(std::string_view stages, std::int64_t count) {
  std::vector<std::int32_t> positions;
  if (stages == kAll) {
    for (std::int32_t position = 0; position < count; ++position) positions.push_back(position);
    return positions;
  }
  std::string_view left = stages;
  while (!left.empty()) {
    const std::string_view item = left.substr(0, left.find(':'));
    left.remove_prefix(item.size());
    std::int32_t position = -1;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), position);
    const bool trails = left == ":";
    if (error != std::errc() || end != item.data() + item.size() || position < 0 || trails) {
      throw InputError(fmt::format("recompute is '{}'; expected all, or stages such as 0:2", stages));
    }
    if (position >= count) throw ShapeError(fmt::format("recompute names stage {}; expected stages from 0 to {}", position, count - 1));
    if (std::find(positions.begin(), positions.end(), position) != positions.end()) {
      throw InputError(fmt::format("recompute names stage {} twice; expected it once", position));
    }
    positions.push_back(position);
    if (!left.empty()) left.remove_prefix(1);
  }
  return positions;
}

Program with_recompute(const Program& program, std::string_view stages) {
  if (stages.empty()) return program;
  if (program.profile == Profile::forward_only) throw ShapeError(fmt::format("schedule '{}' has no backward to recompute for", program.schedule));
  if (program.profile == Profile::interlocking) {
    throw ShapeError(fmt::format("schedule '{}' cannot recompute: the first of a microbatch's backwards comes right after its forward, and the others go through "
                                 "the same activations, so that none could be let go", program.schedule));
  }
  const Recompute pass(program, stages);
  Program result = program;
  for (Rank r = 0; r < program.ranks(); ++r) {
    std::vector<std::int32_t> none;
    result.rows[at(r)] = pass.row(r, program.overlap.empty() ? none : result.overlap[at(r)]);
  }
  return result;
}

StageCosts with_recompute(StageCosts costs, const Program& placed, std::string_view stages) {
  const std::vector<bool> chosen = chosen_stages(placed, stages);
  for (Stage s = 0; s < std::min(placed.stages(), costs.stages()); ++s) {
    if (!chosen[at(s)]) continue;
    for (const Kind kind : {Kind::B, Kind::I, Kind::LB}) costs.at(s, kind).duration += costs.at(s, Kind::R).duration;
  }
  return costs;
}

}  // namespace bubblescope
