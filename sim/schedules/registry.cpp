// The table of schedules, and the checks that every request passes before and after generating.
#include "sim/schedules/registry.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "sim/core/error.hpp"
#include "sim/core/validate.hpp"

// One line per schedule, in the order of `bubblescope list`. NAME_schedule() is in the schedule's file.
#define BUBBLESCOPE_SCHEDULES(add) \
  add(naive)                       \
  add(gpipe)                       \
  add(one_f_one_b)                 \
  add(pipedream_flush)             \
  add(eager_one_f_one_b)           \
  add(deepspeed)                   \
  add(interleaved_one_f_one_b)     \
  add(looped_bfs)                  \
  add(interleaved_zero_bubble)     \
  add(zb1p)                        \
  add(zb_h1)                       \
  add(zb_h2)                       \
  add(zbv)                         \
  add(dualpipe)                    \
  add(dualpipev)                   \
  add(chimera)                     \
  add(hanayo)                      \
  add(zb_heuristic)                \
  add(zbv_greedy)                  \
  add(v_half)                      \
  add(v_min)                       \
  add(v_one_f_one_b)               \
  add(pipedream)                   \
  add(pipedream_2bw)               \
  add(ddg)                         \
  add(features_replay)             \
  add(pipelined_backprop)          \
  add(fdg)                         \
  add(sequential_local)            \
  add(scpl)                        \
  add(interlocking)                \
  add(overlapping_local)           \
  add(async_dgl)                   \
  add(ppll)

namespace bubblescope {

#define BUBBLESCOPE_DECLARE(name) Schedule name##_schedule();
BUBBLESCOPE_SCHEDULES(BUBBLESCOPE_DECLARE)
#undef BUBBLESCOPE_DECLARE

namespace {

/// Pairs of stage and microbatch in one Program: some 5 GB of ops.
constexpr std::int64_t kMaxPairs = std::int64_t{1} << 27;

template <typename Items>
std::vector<std::string> names_of(const Items& items) {
  std::vector<std::string> names;
  for (const auto& item : items) names.push_back(item.name);
  return names;
}

const ScheduleOption& find_option(const Schedule& schedule, std::string_view name) {
  for (const ScheduleOption& option : schedule.options) {
    if (option.name == name) return option;
  }
  const auto names = names_of(schedule.options);
  throw InputError(fmt::format("schedule '{}' has no option '{}'; expected {}{}", schedule.name, name,
                               names.empty() ? std::string("none") : fmt::format("{}", fmt::join(names, ", ")),
                               suggestion(name, names)));
}

/// The number in `text`, if it is one the option allows.
double parse_option(const Schedule& schedule, const ScheduleOption& option, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool number = error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
  if (!number || value < option.minimum || value > option.maximum || (option.integer && value != std::floor(value))) {
    throw InputError(fmt::format("option '{}' of schedule '{}' is '{}'; expected {} of at least {} and at most {}", option.name, schedule.name,
                                 text, option.integer ? "an integer" : "a number", option.minimum, option.maximum));
  }
  return value;
}

void check_option(const Schedule& schedule, const ScheduleOption& option, std::string_view text) {
  if (option.choices.empty()) {
    parse_option(schedule, option, text);
  } else if (std::find(option.choices.begin(), option.choices.end(), text) == option.choices.end()) {
    throw InputError(fmt::format("option '{}' of schedule '{}' is '{}'; expected {}{}", option.name, schedule.name, text,
                                 fmt::join(option.choices, ", "), suggestion(text, option.choices)));
  }
}

void check_shape(const Schedule& schedule, const ScheduleShape& shape) {
  if (shape.ranks < 1) {
    throw InputError(fmt::format("schedule '{}' for {} ranks; expected at least 1", schedule.name, shape.ranks));
  }
  if (shape.microbatches < 1) {
    throw InputError(fmt::format("schedule '{}' for {} microbatches; expected at least 1", schedule.name, shape.microbatches));
  }
  const std::int64_t stages = schedule.chains * stages_per_chain(schedule, shape);
  constexpr std::int64_t max_stages = std::numeric_limits<std::int16_t>::max();
  if (stages > max_stages) {
    throw ShapeError(fmt::format("schedule '{}' for {} stages; expected at most {}", schedule.name, stages, max_stages));
  }
  if (stages * shape.microbatches > kMaxPairs) {
    throw ShapeError(fmt::format("schedule '{}' for {} stages and {} microbatches; expected a product of at most {}",
                                 schedule.name, stages, shape.microbatches, kMaxPairs));
  }
}

}  // namespace

std::span<const Schedule> schedules() {
#define BUBBLESCOPE_ADD(name) name##_schedule(),
  static const std::vector<Schedule> all{BUBBLESCOPE_SCHEDULES(BUBBLESCOPE_ADD)};
#undef BUBBLESCOPE_ADD
  return all;
}

const Schedule& find_schedule(std::string_view name) {
  for (const Schedule& schedule : schedules()) {
    if (schedule.name == name) return schedule;
  }
  const auto names = names_of(schedules());
  throw InputError(fmt::format("unknown schedule '{}'; expected {}{}", name, fmt::join(names, ", "), suggestion(name, names)));
}

std::int64_t stages_per_chain(const Schedule& schedule, const ScheduleShape& shape) {
  std::int64_t stages = std::int64_t{shape.ranks} * schedule.stages_per_rank;
  for (const ScheduleOption& option : schedule.options) {
    if (option.name == "chunks" || option.name == "waves") stages *= static_cast<std::int64_t>(option_number(schedule, shape, option.name));
  }
  return stages;
}

Program generate(const Schedule& schedule, ScheduleShape shape) {
  for (const auto& [name, value] : shape.options) check_option(schedule, find_option(schedule, name), value);
  for (const ScheduleOption& option : schedule.options) shape.options.try_emplace(option.name, option.default_value);
  check_shape(schedule, shape);
  Program program = schedule.generate(shape);
  for (const Finding& finding : validate(program, 2)) {
    throw InputError(fmt::format("schedule '{}' for {} ranks and {} microbatches is not valid; {}", schedule.name,
                                 shape.ranks, shape.microbatches, describe(finding)));
  }
  return program;
}

std::string option_text(const Schedule& schedule, const ScheduleShape& shape, std::string_view name) {
  const ScheduleOption& option = find_option(schedule, name);
  const auto given = shape.options.find(option.name);
  const std::string& text = given == shape.options.end() ? option.default_value : given->second;
  check_option(schedule, option, text);
  return text;
}

double option_number(const Schedule& schedule, const ScheduleShape& shape, std::string_view name) {
  return parse_option(schedule, find_option(schedule, name), option_text(schedule, shape, name));
}

}  // namespace bubblescope
