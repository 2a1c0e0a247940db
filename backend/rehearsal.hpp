// A rehearsal: one rank's row without the other ranks, on example inputs, timed op by op.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.hpp"
#include "sim/core/program.hpp"

namespace bubblescope {

/// One timed op; times of the steady clock.
struct Sample {
  Stage stage = 0;
  Kind kind = Kind::F;
  Nanos start = 0;
  Nanos end = 0;
};

/// What a rank does in a walk of its row when nobody else is there.
class Rehearsal {
 public:
  /// Where the program has no sends and receives, they are put where its dependencies need them.
  Rehearsal(const Program& program, Rank rank);

  /// Walks the row once on `device`, with the next iteration number, and appends its samples. Throws
  /// RunError naming the op that failed.
  void walk(Device& device, std::vector<Sample>& samples);

 private:
  struct Step {
    Op op;
    std::vector<Op> inputs{};  ///< receives whose payloads it uses
    std::size_t copies = 1;  ///< ALLREDUCE: of its stage; the others contribute what this rank does
  };
  void take(const Step& step, Device& device, std::vector<Sample>& samples);

  std::vector<Step> steps_;
  std::int32_t iterations_ = 1;
  std::int32_t next_ = 0;
};

}  // namespace bubblescope
