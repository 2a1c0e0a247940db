// Validation level 1: every stage has all it must have, once, on its rank, in a possible order.
#pragma once

#include <vector>

#include "sim/core/validate.hpp"

namespace bubblescope {

/// V1. Every stage is on one rank, in one chain, and its ops are there only. For every iteration and
/// every microbatch of its chain it has one F and, by profile, one B or one I and one W (backprop,
/// delayed), or one LB and at most one A (local); each stands after what it needs of its own stage;
/// updates come after the backwards they apply. With communication present every pair of neighbours
/// on two ranks has both ends of it, and nobody else has any. All ranks have as many SYNC.
/// At most 100 findings; any Program may be given, however broken.
std::vector<Finding> check_completeness(const Program& program);

}  // namespace bubblescope
