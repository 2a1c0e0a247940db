// Text forms of durations.
#include "sim/core/time.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

struct Unit {
  std::string_view name;
  Nanos nanos;
};
constexpr std::array<Unit, 7> kUnits{{{"ns", 1}, {"us", kMicrosecond}, {"µs", kMicrosecond}, {"ms", kMillisecond}, {"s", kSecond}, {"min", 60 * kSecond}, {"h", 3600 * kSecond}}};

}  // namespace

Nanos parse_duration(std::string_view text) {
  const auto bad = [&](const char* why) -> InputError {
    return InputError(fmt::format("'{}' is not a duration: {}; expected a number with a unit such as 10us or 1.5ms (a bare number is ms)", text, why));
  };
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !std::isfinite(value)) throw bad("it does not begin with a number");
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  Nanos scale = kMillisecond;
  if (!unit.empty()) {
    scale = 0;
    for (const Unit& known : kUnits) {
      if (known.name == unit) scale = known.nanos;
    }
    if (scale == 0) throw bad("its unit is none of ns, us, ms, s, min, h");
  }
  if (std::signbit(value) && value != 0) throw bad("it is negative");
  const double nanos = std::floor(value * static_cast<double>(scale) + 0.5);
  if (nanos > static_cast<double>(kLongest)) throw bad("it is longer than 31 years");
  return static_cast<Nanos>(nanos);
}

std::string format_duration(Nanos duration) {
  const double nanos = static_cast<double>(duration);
  const double magnitude = std::abs(nanos);
  double value = nanos;
  std::string_view unit = "ns";
  // 999.5 rounds to 1000, so the next unit begins there.
  if (magnitude >= 999.5e6) {
    value = nanos / 1e9, unit = "s";
  } else if (magnitude >= 999.5e3) {
    value = nanos / 1e6, unit = "ms";
  } else if (magnitude >= 999.5) {
    value = nanos / 1e3, unit = "us";
  } else {
    return fmt::format("{} ns", duration);
  }
  const double size = std::abs(value);
  const int decimals = size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, decimals, unit);
}

}  // namespace bubblescope
