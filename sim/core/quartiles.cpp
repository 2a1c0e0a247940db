// Quartiles by linear interpolation.
#include "sim/core/quartiles.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace bubblescope {

namespace {

/// Where `fraction` of sorted `values` lies: the value below it, the one above, and the weight of the latter.
struct Position {
  std::size_t below, above;
  double weight;
};

Position position(std::size_t count, double fraction) {
  const double exact = fraction * static_cast<double>(count - 1);
  const auto below = static_cast<std::size_t>(exact);
  return {below, std::min(below + 1, count - 1), exact - static_cast<double>(below)};
}

}  // namespace

Quartiles quartiles(std::vector<Nanos> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&values](double fraction) {
    const auto [below, above, weight] = position(values.size(), fraction);
    return values[below] + static_cast<Nanos>(std::llround(weight * static_cast<double>(values[above] - values[below])));
  };
  return {at(0.25), at(0.5), at(0.75), static_cast<std::int64_t>(values.size())};
}

double fenced_mean(std::span<const Weighted> values) {
  std::vector<double> plain;
  for (const Weighted& one : values) plain.push_back(one.value);
  const Fractions q = fraction_quartiles(std::move(plain));
  const double reach = 3 * (q.third - q.first);
  double sum = 0, weights = 0;
  for (const Weighted& one : values) {
    sum += one.weight * std::clamp(one.value, q.first - reach, q.third + reach);
    weights += one.weight;
  }
  return weights > 0 ? sum / weights : 0;
}

Fractions fraction_quartiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&values](double fraction) {
    const auto [below, above, weight] = position(values.size(), fraction);
    return values[below] + weight * (values[above] - values[below]);
  };
  return {at(0.25), at(0.5), at(0.75)};
}

}  // namespace bubblescope
