// Laying out a Timeline for the ranks of a Program, for whoever fills it with spans.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "sim/core/program.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {

/// A Timeline of `program` without tracks and spans.
Timeline empty_timeline(const Program& program, std::string label);

/// Gives a Timeline's ranks their tracks: those it has, then compute tracks, one per rank, the others as spans ask.
class Tracks {
 public:
  explicit Tracks(Timeline& timeline);
  /// The number of the rank's track for that stream, known or new.
  std::int32_t of(Rank rank, StreamKind stream) {
    const std::int32_t number = numbers_[static_cast<std::size_t>(rank)][static_cast<std::size_t>(stream)];
    return number >= 0 ? number : add(rank, stream);
  }

 private:
  std::int32_t add(Rank rank, StreamKind stream);

  Timeline& timeline_;
  std::vector<std::array<std::int32_t, static_cast<std::size_t>(kStreamKinds)>> numbers_;
};

}  // namespace bubblescope
