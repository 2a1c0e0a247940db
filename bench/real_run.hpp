// What the commands that work for real share (`run`, `calibrate`): what is to run, on what, whether it
// fits into the machine, and how an early end is told.
#pragma once

#include <string>
#include <vector>

#include "bench/measure.hpp"
#include "bench/schedule_flags.hpp"

namespace bubblescope {

struct Chosen {
  std::vector<Experiment> experiments;
  std::vector<std::string> skipped;  ///< a line about each of `all` that the scenario cannot have
};

/// The experiments of the chosen schedules. Throws InputError where there are none.
Chosen chosen_experiments(const Scenario& scenario, const ScheduleFlags& flags);
/// Tells on standard error what is skipped: of several processes one does.
void tell_skipped(const Chosen& chosen);

/// The backend that the scenario names.
MakeBackend backend_of(const Scenario& scenario);

/// Refuses what is known beforehand to end in the middle: throws RunError naming the schedule where it
/// deadlocks, needs more memory than its devices have, or, on the CPU backend, than this machine has.
/// `keeps_states`: whether the weights of every experiment are kept while another one works, so that
/// its training goes on.
void refuse_hopeless(const Scenario& scenario, const std::vector<Experiment>& experiments, bool keeps_states);

/// Why nothing could be measured, or an empty text where something was.
std::string nothing_measured(const MeasuredRun& run);

/// Tells on standard error what ended early, and returns the exit code.
int tell_early_end(const MeasuredRun& run, const Scenario& scenario);

}  // namespace bubblescope
