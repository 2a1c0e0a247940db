// What the commands that work for real share (`run`, `calibrate`): what is to run, on what, whether it
// fits into the machine, and how an early end is told.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/world.hpp"
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

/// Bytes that a rank holds of a state that is kept between iterations, and at most.
struct RankNeed {
  std::int64_t state = 0;
  std::int64_t peak = 0;
};
/// By experiment and rank.
using MemoryNeeds = std::vector<std::vector<RankNeed>>;

/// Refuses what is known beforehand to end in the middle: throws RunError naming the schedule where it
/// deadlocks or needs more memory than its devices have.
MemoryNeeds refuse_hopeless(const Scenario& scenario, const std::vector<Experiment>& experiments);

/// Of those ranks together, one experiment after the other. `keeps_states`: whether the weights of every experiment are kept
/// while another one works, so that its training goes on.
std::int64_t bytes_needed(const MemoryNeeds& needs, RankRange ranks, bool keeps_states);

/// Bytes that a process needs, and that its host has; capacity 0: nobody knows.
struct ProcessMemory {
  std::string host;  ///< empty: this machine
  std::int64_t needed = 0;
  std::int64_t capacity = 0;
};
/// The first host that has too little for its processes, as a sentence; empty: all have enough.
std::string too_little_memory(const std::vector<ProcessMemory>& processes);

/// On the CPU backend: throws RunError, in all processes, where a host has less memory than its processes need. Collective;
/// `world`: null where this process has all ranks.
void refuse_too_large(const Scenario& scenario, const MemoryNeeds& needs, bool keeps_states, World* world);

/// Why nothing could be measured, or an empty text where something was.
std::string nothing_measured(const MeasuredRun& run);

/// Tells on standard error what ended early, and returns the exit code.
int tell_early_end(const MeasuredRun& run, const Scenario& scenario);

}  // namespace bubblescope
