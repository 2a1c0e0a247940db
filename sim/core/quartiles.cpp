// Quartiles by linear interpolation.
#include "sim/core/quartiles.hpp"

#include <algorithm>
#include <cmath>

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

Fractions fraction_quartiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&values](double fraction) {
    const auto [below, above, weight] = position(values.size(), fraction);
    return values[below] + weight * (values[above] - values[below]);
  };
  return {at(0.25), at(0.5), at(0.75)};
}

FencedMean fenced_mean(const std::vector<double>& values) {
  if (values.empty()) return {};
  const Fractions q = fraction_quartiles(values);
  const double reach = std::max(3 * (q.third - q.first), std::abs(q.median) / 2);
  const auto counted = [&](double value) { return std::clamp(value, q.first - reach, q.third + reach); };
  const auto count = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double value : values) sum += counted(value);
  constexpr std::size_t kFewestForFences = 5;  // one of four is never beyond theirs
  const double mean = values.size() < kFewestForFences ? q.median : sum / count;
  for (const double value : values) squares += (counted(value) - mean) * (counted(value) - mean);
  return {mean, values.size() < 2 ? 0 : std::sqrt(squares / (count - 1) / count)};
}

}  // namespace bubblescope
