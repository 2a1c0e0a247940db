// Validation level 1, first half: tables and every op by itself. What follows may index by their numbers.
#pragma once

#include "sim/core/findings.hpp"

namespace bubblescope {

/// Stages on ranks, chains, channels, then every op: numbers in range, on its stage's rank, of a kind
/// that the profile has. Any Program may be given, however broken.
void check_well_formed(const Program& program, Findings& findings);

}  // namespace bubblescope
