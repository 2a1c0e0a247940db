// Every schedule by name. A schedule is one file that generates a Program (compute order only) and
// one line in registry.cpp.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/cluster.hpp"
#include "sim/core/costs.hpp"
#include "sim/core/program.hpp"

namespace bubblescope {

/// One option of a schedule, also a flag of the command line (`--queue 2`).
struct ScheduleOption {
  std::string name;
  std::string meaning;
  std::string default_value;
  std::vector<std::string> choices;  ///< allowed words; empty: a number
  double minimum = 0;                ///< of a number
  double maximum = 1e9;              ///< of a number
  bool integer = true;               ///< of a number
};

/// What a schedule is asked for.
struct ScheduleShape {
  std::int32_t ranks = 1;
  std::int32_t microbatches = 1;               ///< per iteration
  std::map<std::string, std::string> options = {};  ///< by name; what is missing has its default
  /// For schedules that are searched: the costs of a Program's stages, asked for with their placement and
  /// no ops, and the links between ranks. Where none are given F, I and W of a rank's share take one
  /// microsecond each, and a message no time.
  std::function<StageCosts(const Program&)> costs = {};
  Cluster cluster = {};
};

struct Schedule {
  std::string name;
  std::string title;
  std::string paper;    ///< where it was published
  std::string memory;   ///< activations a rank holds, in words
  std::string bubble;   ///< closed form, in words
  std::vector<ScheduleOption> options;
  bool local = false;   ///< trains with local losses and auxiliary networks
  std::int32_t stages_per_rank = 1;  ///< of one chain, times the value of an option 'chunks' or 'waves'
  std::int32_t chains = 1;           ///< copies of the model, 2 of a bidirectional schedule
  bool flush = true;    ///< one update per iteration, when nothing is under way
  bool whole_batches = false;  ///< every microbatch is a batch of its own, with its own update
  bool searched = false;  ///< the order depends on the costs
  Program (*generate)(const ScheduleShape& shape) = nullptr;
};

/// All schedules, in the order in which they are listed.
std::span<const Schedule> schedules();
/// The schedule of that name; throws InputError with the nearest known name.
const Schedule& find_schedule(std::string_view name);

/// How many stages each chain of the schedule has for that shape. Throws InputError where an option is wrong.
std::int64_t stages_per_chain(const Schedule& schedule, const ScheduleShape& shape);

/// Checks shape and options against the schedule's table, fills defaults in, generates, and checks
/// the result (V1, V2). Throws InputError that names the option; ShapeError where the schedule cannot have
/// so many ranks and microbatches.
Program generate(const Schedule& schedule, ScheduleShape shape);

/// An option's value (given or default) as text, or as a number. For generators.
std::string option_text(const Schedule& schedule, const ScheduleShape& shape, std::string_view name);
double option_number(const Schedule& schedule, const ScheduleShape& shape, std::string_view name);

}  // namespace bubblescope
