// Sizes and bandwidths as people write them, read into numbers.
#include "sim/core/units.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

struct Unit {
  std::string_view name;
  double bytes;
};

constexpr std::array kSizes = {
    Unit{"B", 1},     Unit{"kB", 1e3},   Unit{"MB", 1e6},     Unit{"GB", 1e9},        Unit{"TB", 1e12},
    Unit{"KiB", 0x1p10}, Unit{"MiB", 0x1p20}, Unit{"GiB", 0x1p30}, Unit{"TiB", 0x1p40}};
constexpr std::array kBits = {Unit{"bit", 1.0 / 8}, Unit{"kbit", 1e3 / 8}, Unit{"Mbit", 1e6 / 8},
                              Unit{"Gbit", 1e9 / 8}, Unit{"Tbit", 1e12 / 8}};

struct Quantity {
  double number;
  std::string_view unit;
};

/// A finite number of at least zero and what follows it, or nothing.
std::optional<Quantity> split(std::string_view text) {
  Quantity quantity{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), quantity.number);
  if (error != std::errc{} || !std::isfinite(quantity.number) || std::signbit(quantity.number)) {
    return std::nullopt;
  }
  quantity.unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (!quantity.unit.empty() && quantity.unit.front() == ' ') quantity.unit.remove_prefix(1);
  return quantity;
}

template <std::size_t N>
std::optional<double> factor(const std::array<Unit, N>& units, std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) return unit.bytes;
  }
  return std::nullopt;
}

}  // namespace

std::int64_t parse_bytes(std::string_view text) {
  constexpr std::string_view kExpected = "expected a number and a unit, such as 64MiB or 16GB";
  const auto quantity = split(text);
  if (!quantity) throw InputError(fmt::format("'{}' is not a size; {}", text, kExpected));
  const auto unit = quantity->unit.empty() ? std::optional(1.0) : factor(kSizes, quantity->unit);
  if (!unit) {
    throw InputError(fmt::format("unknown unit '{}' in '{}'; {}", quantity->unit, text, kExpected));
  }
  const double bytes = std::floor(quantity->number * *unit + 0.5);
  if (bytes >= static_cast<double>(std::numeric_limits<std::int64_t>::max())) {
    throw InputError(fmt::format("the size '{}' is too large; expected less than 2^63 bytes", text));
  }
  return static_cast<std::int64_t>(bytes);
}

double parse_bandwidth(std::string_view text) {
  constexpr std::string_view kExpected =
      "expected a number and a unit, such as 25GB/s or 100Gbit/s";
  const auto quantity = split(text);
  if (!quantity) throw InputError(fmt::format("'{}' is not a bandwidth; {}", text, kExpected));
  if (quantity->unit.empty()) return quantity->number;
  std::string_view name = quantity->unit;
  std::optional<double> unit;
  if (name.ends_with("/s")) {
    name.remove_suffix(2);
    unit = factor(kSizes, name);
    if (!unit) unit = factor(kBits, name);
  }
  if (!unit) {
    throw InputError(fmt::format("unknown unit '{}' in '{}'; {}", quantity->unit, text, kExpected));
  }
  return quantity->number * *unit;
}

}  // namespace bubblescope
