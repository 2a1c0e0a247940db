// Programs and costs for tests of the engine.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "sim/core/cost_list.hpp"
#include "sim/schedules/registry.hpp"

namespace bubblescope {

inline Program make(const std::string& name, int ranks, int microbatches, std::map<std::string, std::string> options = {}) {
  return generate(find_schedule(name), {ranks, microbatches, std::move(options)});
}

inline StageCosts costs_of(const Program& program, Nanos f, Nanos i, Nanos w) {
  return stage_costs({{Kind::F, {f}}, {Kind::I, {i}}, {Kind::W, {w}}}, program);
}

}  // namespace bubblescope
