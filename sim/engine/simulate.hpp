// The simulator: (Program, costs, cluster) -> predicted Timeline. A pure function.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/core/cluster.hpp"
#include "sim/core/costs.hpp"
#include "sim/core/program.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {

/// Which of the two engines runs; both give the same bytes where both apply.
enum class Engine {
  automatic,  ///< the sweep where it applies, else events
  sweep,      ///< one relaxation sweep over flat arrays: in-order rows, nothing shared
  events,     ///< an event heap: anything
};

struct SimulateOptions {
  Engine engine = Engine::automatic;
};

/// The ops of a wait cycle, each waiting for the next and the last for the first.
struct Deadlock {
  std::vector<std::string> cycle;  ///< `rank 0: 0SEND_F3`
};

struct Simulation {
  Timeline timeline;
  std::optional<Deadlock> deadlock;  ///< then the timeline holds what ran until then
};

/// Predicts `program`, which must pass validation up to V2 (sim/core/validate.hpp; `generate` and
/// `predict_case` see to it): rows are walked as they are, and an op that stands nowhere is waited for by
/// nobody. V3 may fail: the deadlock is part of what is predicted. Communication ops take latency and bytes over bandwidth of the cluster's link;
/// a dependency that crosses ranks in a Program without communication ops costs the latency alone.
/// Ties in time break by rank, then by position in the row. Throws InputError where the cluster has
/// fewer ranks than the Program, or `Engine::sweep` is asked for where it does not apply.
Simulation simulate(const Program& program, const StageCosts& costs, const Cluster& cluster,
                    const SimulateOptions& options = {});

/// Whether the program updates after microbatches, not at a flush: its period is then one microbatch's.
bool updates_every_microbatch(const Program& program);

/// Steady-state time per iteration (per microbatch for Programs that update every microbatch), with
/// iterations following each other without a barrier: the largest cycle mean of one iteration's graph
/// with each rank's last op joined to its first. A Program of several iterations is joined to itself as
/// a whole, and the period is the mean of its iterations. Nothing on a deadlock. `program` as for `simulate`.
std::optional<Nanos> steady_period(const Program& program, const StageCosts& costs,
                                   const Cluster& cluster, const SimulateOptions& options = {});

}  // namespace bubblescope
