// Tracks of ranks.
#include "sim/core/tracks.hpp"

#include <fmt/format.h>

#include <utility>

namespace bubblescope {

Timeline empty_timeline(const Program& program, std::string label) {
  Timeline timeline;
  timeline.label = std::move(label);
  timeline.schedule = program.schedule;
  timeline.ranks = program.ranks();
  timeline.stages = program.stages();
  if (program.chains.size() > 1) timeline.chains = program.chains;
  timeline.microbatches = program.microbatches;
  timeline.iterations = program.iterations;
  timeline.chunks = program.chunks;
  return timeline;
}

Tracks::Tracks(Timeline& timeline) : timeline_(timeline), numbers_(static_cast<std::size_t>(timeline.ranks)) {
  for (auto& of_rank : numbers_) of_rank.fill(-1);
  for (std::size_t i = 0; i < timeline.tracks.size(); ++i) {
    const Track& track = timeline.tracks[i];
    numbers_[static_cast<std::size_t>(track.rank)][static_cast<std::size_t>(track.stream)] = static_cast<std::int32_t>(i);
  }
  for (Rank r = 0; r < timeline.ranks; ++r) of(r, StreamKind::compute);
}

std::int32_t Tracks::add(Rank rank, StreamKind stream) {
  const auto number = static_cast<std::int32_t>(timeline_.tracks.size());
  timeline_.tracks.push_back({rank, stream, fmt::format("rank {} {}", rank, stream_name(stream))});
  return numbers_[static_cast<std::size_t>(rank)][static_cast<std::size_t>(stream)] = number;
}

}  // namespace bubblescope
