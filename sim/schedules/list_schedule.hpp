// List scheduling of a pipeline within memory limits: ranks decide, in the order of time, which op comes next,
// by the rules of a policy. One pass gives one order.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/schedules/pipeline_problem.hpp"

namespace bubblescope {

/// The rules by which a free rank decides. All is deterministic.
struct ListPolicy {
  /// [rank * chunks + chunk] -> most activations of that chunk alive. Besides the rank's own limit.
  std::vector<std::int32_t> chunk_limit = {};
  /// Code of an op (F and I of every chunk) -> preference, lower first.
  std::vector<int> preference = {};
  /// How long a rank waits for an op that it prefers by one, in parts of its mean op: its choice is the op with
  /// the lowest start + preference * patience.
  double patience = 0;
  /// A W runs in a gap that is at least this part of it: 1 delays nothing, 0 always runs one.
  double fill = 1;
  /// Ws in hand beyond this many are run before anything that is not preferred to them.
  std::int32_t pending = 1 << 30;
  /// Where not empty: [rank * codes + code] -> desired start for microbatch 0, one `period` later for each
  /// that follows. Times `desire` it is added to what is minimised.
  std::vector<Nanos> desired = {};
  Nanos period = 0;
  double desire = 1;
};

/// The order that `policy` leads to. Every chunk but the last must leave one activation of the limit to those
/// behind it, or the pipeline may lock; `chunk_limit` sees to that.
RowOrder list_schedule(const PipelineProblem& problem, const ListPolicy& policy);

}  // namespace bubblescope
