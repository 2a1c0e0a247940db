// What this machine is: for reports, and to know what it cannot do.
#pragma once

#include <cstdint>
#include <string>

namespace bubblescope {

/// The processor's name, or `unknown`.
std::string cpu_model();

/// Bytes of main memory that this process may use: the machine's, or the control group's limit where
/// that is less; 0 where neither can be told.
std::int64_t memory_capacity();

}  // namespace bubblescope
