// Validation of Programs in levels: V0 parse, V1 completeness and order per stage, V2 cross-rank
// dependency cycles, V3 channel order and deadlock. Simulating and executing refuse what fails.
#pragma once

#include <string>
#include <vector>

#include "sim/core/program.hpp"

namespace bubblescope {

/// One thing that is wrong.
struct Finding {
  int level = 1;          ///< 1, 2, 3, ...; 0 for a file that no reader could parse
  Rank rank = -1;         ///< where, or -1
  std::int32_t position = -1;  ///< in the rank's row, or -1
  std::string op;         ///< its cell, or empty
  std::string message;
  std::vector<std::string> cycle;  ///< V2, V3: the ops that wait for each other, in order
};

/// All findings of levels 1 to `up_to_level`; a level is only looked at where those below are clean.
/// V4, memory, needs costs: `memory_excess` of sim/scenario/build.hpp. V5, staleness, needs a bound:
/// sim/core/weight_versions.hpp.
std::vector<Finding> validate(const Program& program, int up_to_level = 3);

/// Throws RunError with the first finding's text, where there is one.
void require_valid(const Program& program);

/// `rank 1, op 3 (1B0): what is wrong`.
std::string describe(const Finding& finding);

}  // namespace bubblescope
