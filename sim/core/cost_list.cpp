// Hand-given costs: parsing, defaults, division among chunks.
#include "sim/core/cost_list.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

/// The pieces between separators; at least one, which may be empty.
std::vector<std::string_view> pieces_of(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  for (std::size_t end = text.find(separator); end != std::string_view::npos; end = text.find(separator)) {
    pieces.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  pieces.push_back(text);
  return pieces;
}

/// a + b entry by entry; a single value stands for all.
std::vector<Nanos> sum(const std::vector<Nanos>& a, const std::vector<Nanos>& b) {
  std::vector<Nanos> result(std::max(a.size(), b.size()));
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = a[a.size() == 1 ? 0 : i] + b[b.size() == 1 ? 0 : i];
  return result;
}

/// Every kind's values, one per stage.
class Filler {
 public:
  Filler(const CostList& list, const Program& program) : list_(list), program_(program) {
    std::int32_t position = 0;
    chain_position_.assign(static_cast<std::size_t>(program.stages()), 0);
    for (const auto& chain : program.chains) {
      for (const Stage stage : chain) chain_position_[static_cast<std::size_t>(stage)] = position++;
    }
  }

  bool given(Kind kind) const { return list_.contains(kind); }

  std::vector<Nanos> values(Kind kind) const {
    const auto found = list_.find(kind);
    std::vector<Nanos> result(static_cast<std::size_t>(program_.stages()), 0);
    if (found == list_.end()) return result;
    const auto& given_values = found->second;
    const auto count = static_cast<std::int32_t>(given_values.size());
    if (count != 1 && count != program_.ranks() && count != program_.stages()) {
      throw InputError(fmt::format("the cost of {} lists {} values; expected 1, {} (ranks){}", mnemonic(kind), count, program_.ranks(),
                                   program_.stages() == program_.ranks() ? "" : fmt::format(" or {} (stages)", program_.stages())));
    }
    for (Stage s = 0; s < program_.stages(); ++s) {
      const auto stage = static_cast<std::size_t>(s);
      const std::int32_t which = count == 1 ? 0 : count == program_.ranks() ? program_.stage_rank[stage] : chain_position_[stage];
      result[stage] = given_values[static_cast<std::size_t>(which)];
    }
    return result;
  }

 private:
  const CostList& list_;
  const Program& program_;
  std::vector<std::int32_t> chain_position_;
};

}  // namespace

const std::vector<std::string>& cost_kind_names() {
  static const std::vector<std::string> names{"F", "B", "I", "W", "R", "A", "LB", "U", "FB", "LOAD"};
  return names;
}

std::optional<Kind> cost_kind(std::string_view name) {
  const auto& names = cost_kind_names();
  if (std::find(names.begin(), names.end(), name) == names.end()) return std::nullopt;
  return name == "FB" ? Kind::OVERLAP_F_B : kind_from_mnemonic(name);
}

CostList parse_cost_list(std::string_view text) {
  CostList list;
  if (text.empty()) throw InputError("the cost list is empty; expected such as F=1,I=1,W=1");
  for (const std::string_view part : pieces_of(text, ',')) {
    if (part.empty()) throw InputError(fmt::format("nothing stands between two commas, or at an end, of the cost list '{}'; expected such as F=1,B=2", text));
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) throw InputError(fmt::format("'{}' in the cost list has no '='; expected such as F=1 or B=2ms", part));
    const std::string_view name = part.substr(0, equals);
    const auto kind = cost_kind(name);
    if (!kind) {
      throw InputError(fmt::format("unknown kind '{}' in the cost list; expected one of {}{}", name, fmt::join(cost_kind_names(), ", "), suggestion(name, cost_kind_names())));
    }
    if (list.contains(*kind)) throw InputError(fmt::format("the cost of {} is given twice", name));
    auto& values = list[*kind];
    for (const std::string_view value : pieces_of(part.substr(equals + 1), ':')) {
      if (value.empty()) throw InputError(fmt::format("a value of {} is missing in '{}'; expected durations such as 1.5ms", name, part));
      values.push_back(parse_duration(value));
    }
  }
  return list;
}

StageCosts stage_costs(const CostList& list, const Program& program) {
  const Filler filler(list, program);
  StageCosts costs(program.stages());
  const std::int64_t v = std::max(1, program.chunks);
  const auto share = [&](Nanos value) { return (2 * value + v) / (2 * v); };
  const auto set = [&](Kind kind, const std::vector<Nanos>& values) {
    for (Stage s = 0; s < program.stages(); ++s) costs.at(s, kind).duration = share(values[static_cast<std::size_t>(s)]);
  };
  for (const auto& [kind, given] : list) {
    const std::vector<Nanos> values = filler.values(kind);
    if (kind != Kind::OVERLAP_F_B) {
      set(kind, values);
      continue;
    }
    for (Stage s = 0; s < program.stages(); ++s) costs.overlap(s) = OpCost{.duration = share(values[static_cast<std::size_t>(s)])};
  }
  std::vector<Nanos> backward = filler.values(Kind::B);
  const bool split_given = filler.given(Kind::I) || filler.given(Kind::W);
  if (!filler.given(Kind::B)) {
    backward = sum(filler.values(Kind::I), filler.values(Kind::W));
    set(Kind::B, backward);
  } else if (!split_given) {
    std::vector<Nanos> input = backward, weight = backward;
    for (std::size_t s = 0; s < backward.size(); ++s) {
      input[s] = (backward[s] + 1) / 2;
      weight[s] = backward[s] - input[s];
    }
    set(Kind::I, input);
    set(Kind::W, weight);
  }
  if (!filler.given(Kind::LB)) set(Kind::LB, backward);
  if (!filler.given(Kind::R)) set(Kind::R, filler.values(Kind::F));
  return costs;
}

}  // namespace bubblescope
