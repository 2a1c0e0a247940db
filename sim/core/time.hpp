// Time as the whole project counts it: signed 64-bit nanoseconds, and its text form.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bubblescope {

/// A duration or a point in time, in nanoseconds.
using Nanos = std::int64_t;

inline constexpr Nanos kMicrosecond = 1'000;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;
/// The longest duration that a file or flag may give, 31 years: sums of a few still fit in 64 bits.
inline constexpr Nanos kLongest = 1'000'000'000 * kSecond;

/// Reads a duration: a number and a unit (`ns`, `us`, `ms`, `s`, `min`, `h`); a bare number is milliseconds.
/// Fractions are rounded half up to nanoseconds. Throws InputError on anything else, on a negative
/// value and on one that does not fit.
Nanos parse_duration(std::string_view text);

/// A duration for people, with three significant digits and a unit: `12.3 ms`.
std::string format_duration(Nanos duration);

}  // namespace bubblescope
