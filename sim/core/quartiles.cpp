// Quartiles by linear interpolation.
#include "sim/core/quartiles.hpp"

#include <algorithm>
#include <cmath>

namespace bubblescope {

Quartiles quartiles(std::vector<Nanos> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&values](double fraction) {
    const double position = fraction * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    const double weight = position - static_cast<double>(below);
    return values[below] + static_cast<Nanos>(std::llround(weight * static_cast<double>(values[above] - values[below])));
  };
  return {at(0.25), at(0.5), at(0.75), static_cast<std::int64_t>(values.size())};
}

}  // namespace bubblescope
