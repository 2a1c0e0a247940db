// From a scenario's experiments to cases that can be predicted.
#pragma once

#include <string>
#include <vector>

#include "bench/schedule_flags.hpp"
#include "bench/summary.hpp"
#include "sim/scenario/build.hpp"

namespace bubblescope {

/// The scenario's schedules, or those that --schedule names (with their options from the flags).
std::vector<ScheduleConfig> chosen_schedules(const Scenario& scenario, const ScheduleFlags& flags);

/// An experiment with the scenario's cluster and the flags' --latency, --channel, --iterations.
Case make_case(const Experiment& experiment, const Scenario& scenario, const ScheduleFlags& flags);

/// One sentence per prediction that needs more memory than the scenario's devices have.
std::vector<std::string> memory_notes(const Scenario& scenario, const std::vector<Prediction>& predictions);

}  // namespace bubblescope
