// Collecting what validation finds; shared by the files that check one level each.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sim/core/validate.hpp"

namespace bubblescope {

/// Where an op stands; -1: the finding is about no row, or about all of one.
struct Place {
  Rank rank = -1;
  std::int32_t position = -1;
};

/// Findings of level 1 about one Program.
class Findings {
 public:
  explicit Findings(const Program& program) : program_(program) {}

  void report(const Place& place, std::string op, std::string message) {
    if (!full()) list_.push_back({1, place.rank, place.position, std::move(op), std::move(message), {}});
  }
  void report(const Place& place, const Op& op, std::string message) { report(place, cell(program_, op), std::move(message)); }
  void report(std::string message) { report(Place{}, std::string(), std::move(message)); }

  bool empty() const { return list_.empty(); }
  /// A broken file breaks the same rule many times; more findings help nobody.
  bool full() const { return list_.size() >= 100; }
  std::vector<Finding> take() { return std::move(list_); }

 private:
  const Program& program_;
  std::vector<Finding> list_;
};

/// Ops that exist once per (iteration, replica, slice, stage, microbatch).
inline bool per_microbatch(Kind kind) {
  return (is_compute(kind) && kind != Kind::U && !is_compound(kind)) || is_send(kind) || is_recv(kind);
}

}  // namespace bubblescope
