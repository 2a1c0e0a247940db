// The axes of a sweep, `ranks=2:4:8,microbatches=4..64,schedule=all`: taken apart, their keys found.
// Which scenario a point of the grid is: sim/scenario/sweep_point.hpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bubblescope {

/// The largest grid.
inline constexpr std::int64_t kMostPoints = 1'000'000;

struct AxisValue {
  std::string text;        ///< as after `=` of an override: `4`, `10us`, `"rank,eager=64KiB"`
  std::size_t column = 0;  ///< where it was written, counted from 1
};

struct SweepAxis {
  enum class What : std::uint8_t {
    schedule,      ///< its values are the names of schedules
    of_schedules,  ///< a key or option of every schedule that has it: `microbatches`, `queue`
    key,           ///< any key that overrides take: `cluster.ranks`, `schedule.ppll.queue`
  };
  std::string name;  ///< as given
  What what = What::key;
  std::string key;           ///< the whole key of `name`
  std::vector<AxisValue> values;
  std::string origin;      ///< `--over ranks=2:4:8`: the flag, for messages
  std::size_t column = 0;  ///< where the name was written, counted from 1
};

/// Reads axes separated by commas, each `KEY=VALUES`. Values are separated by colons; `4..64` doubles from 4 to
/// at most 64, `4..16+4` adds 4 each time (whole numbers, with a unit at both ends or at none: `10us..80us`). A
/// value that begins with a quote or a bracket goes to its end: `"rank,eager=64KiB"`, `[3, 64, 64]`.
///
/// KEY is `schedule` (values: names, or `all` in the registry's order), a key or option of schedules, a key of
/// a section by its name alone where only one section has it, or whatever an override takes.
///
/// Throws InputError `--over TEXT: character N, axis 'KEY': what is wrong; what was expected`: also for an axis or
/// a value given twice, for `schedule.NAME.queue` beside `queue`, and for more than kMostPoints points.
/// What values mean is checked by `check_axes`.
std::vector<SweepAxis> parse_axes(std::span<const std::string> texts);

/// Points of the grid: the product of the numbers of values.
std::int64_t point_count(std::span<const SweepAxis> axes);

/// The values of a point, one per axis; the last axis changes fastest.
std::vector<std::string> point_values(std::span<const SweepAxis> axes, std::int64_t point);

/// Throws InputError about an axis, or about one of its values.
[[noreturn]] void fail_axis(const SweepAxis& axis, std::size_t column, std::string_view what);

}  // namespace bubblescope
