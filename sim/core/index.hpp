// Indices: counts and ids are signed here, containers are not.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bubblescope {

/// `i`, which must not be negative, as a container's index.
inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace bubblescope
