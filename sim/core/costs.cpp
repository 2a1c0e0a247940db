// Cost lookups: compounds, and microbatch sizes between the known ones.
#include "sim/core/costs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

/// Linear between a (weight 0) and b (weight 1), never below zero, rounded half up.
std::int64_t blend(std::int64_t a, std::int64_t b, double weight) {
  const double value = static_cast<double>(a) + weight * static_cast<double>(b - a);
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(std::floor(value + 0.5)));
}

OpCost blend(const OpCost& a, const OpCost& b, double weight) {
  return {.duration = blend(a.duration, b.duration, weight),
          .busy_factor = std::max(1.0, a.busy_factor + std::clamp(weight, 0.0, 1.0) * (b.busy_factor - a.busy_factor)),
          .spread = blend(a.spread, b.spread, weight),
          .launches = static_cast<std::int32_t>(blend(a.launches, b.launches, weight)),
          .host = blend(a.host, b.host, weight)};
}

}  // namespace

void StageCosts::set_stage(Stage stage, const StageCosts& other, Stage from) {
  for (int kind = 0; kind < kKinds; ++kind) at(stage, static_cast<Kind>(kind)) = other.at(from, static_cast<Kind>(kind));
  overlap(stage) = other.overlap(from);
  bytes(stage) = other.bytes(from);
}

bool StageCosts::has_bytes() const {
  return std::any_of(bytes_.begin(), bytes_.end(), [](const StageBytes& b) { return b != StageBytes{}; });
}

bool StageCosts::has_host() const {
  return std::any_of(table_.begin(), table_.end(), [](const OpCost& cost) { return cost.host > 0; });
}

OpCost StageCosts::of(const Program& program, const Op& op) const {
  if (is_compound(op.kind)) return of_compound(program.parts_of(op));
  return op.stage >= 0 && op.stage < stages() ? at(op.stage, op.kind) : OpCost{};
}

OpCost StageCosts::of_compound(std::span<const Op> parts) const {
  const auto known = [this](const Op& part) { return part.stage >= 0 && part.stage < stages(); };
  if (!parts.empty() && known(parts.front()) && overlap(parts.front().stage)) return *overlap(parts.front().stage);
  OpCost sum;
  double busy = 0;
  for (const Op& part : parts) {
    const OpCost cost = known(part) ? at(part.stage, part.kind) : OpCost{};
    sum.duration += cost.duration;
    sum.spread += cost.spread;
    sum.launches += cost.launches;
    sum.host += cost.host;
    busy += cost.busy_factor * static_cast<double>(cost.duration);
  }
  if (sum.duration > 0) sum.busy_factor = busy / static_cast<double>(sum.duration);
  return sum;
}

StageCosts Costs::at(std::int64_t samples) const {
  if (by_size.empty()) throw InputError(fmt::format("no costs are known ({})", source.empty() ? "no source" : source));
  if (const auto exact = by_size.find(samples); exact != by_size.end()) return exact->second;
  if (by_size.size() == 1) {
    throw ShapeError(fmt::format("the costs of a microbatch of {} samples are not known, only {} ({}); expected that size, or two sizes to go by",
                                 samples, by_size.begin()->first, source.empty() ? "no source" : source));
  }
  auto upper = by_size.upper_bound(samples);
  if (upper == by_size.end()) upper = std::prev(upper);
  if (upper == by_size.begin()) upper = std::next(upper);
  const auto& [size_a, a] = *std::prev(upper);
  const auto& [size_b, b] = *upper;
  if (a.stages() != b.stages()) {
    throw InputError(fmt::format("costs are known for {} stage{} at {} samples, but for {} at {} ({}); expected the same stages at every size", a.stages(),
                                 a.stages() == 1 ? "" : "s", size_a, b.stages(), size_b, source.empty() ? "no source" : source));
  }
  const double weight = static_cast<double>(samples - size_a) / static_cast<double>(size_b - size_a);
  StageCosts result(a.stages());
  for (Stage s = 0; s < a.stages(); ++s) {
    for (int k = 0; k < kKinds; ++k) {
      const Kind kind = static_cast<Kind>(k);
      result.at(s, kind) = blend(a.at(s, kind), b.at(s, kind), weight);
    }
    if (a.overlap(s) && b.overlap(s)) result.overlap(s) = blend(*a.overlap(s), *b.overlap(s), weight);
    const StageBytes& ba = a.bytes(s);
    const StageBytes& bb = b.bytes(s);
    StageBytes& out = result.bytes(s);
    for (const auto field : {&StageBytes::weights, &StageBytes::gradients, &StageBytes::optimizer, &StageBytes::activations,
                             &StageBytes::activations_until_w, &StageBytes::auxiliary, &StageBytes::auxiliary_activations,
                             &StageBytes::output}) {
      out.*field = blend(ba.*field, bb.*field, weight);
    }
  }
  return result;
}

}  // namespace bubblescope
