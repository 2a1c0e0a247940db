// Sizes and bandwidths as people write them (`64MiB`, `25GB/s`, `100Gbit/s`), read into numbers.
#pragma once

#include <cstdint>
#include <string_view>

namespace bubblescope {

/// Reads a size: a number and a unit (`B`, `kB`, `MB`, `GB`, `TB`, powers of 1000; `KiB`, `MiB`,
/// `GiB`, `TiB`, powers of 1024); a bare number is bytes. Rounded half up to whole bytes.
/// Throws InputError on anything else, a negative value, and one that does not fit.
std::int64_t parse_bytes(std::string_view text);

/// Reads a bandwidth into bytes per second: a size (as above) or a number of bits (`bit`, `kbit`,
/// `Mbit`, `Gbit`, `Tbit`) followed by `/s`; a bare number is bytes per second. Throws InputError.
double parse_bandwidth(std::string_view text);

}  // namespace bubblescope
