// Timelines of what ran.
#include "sim/core/executed.hpp"

#include <utility>
#include <vector>

namespace bubblescope {

Wait wait_behind(Kind kind) {
  switch (kind) {
    case Kind::SEND_F:
    case Kind::SEND_B:
      return Wait::capacity;
    case Kind::RECV_F:
    case Kind::RECV_B:
      return Wait::transfer;
    case Kind::SYNC:
    case Kind::ALLREDUCE:
      return Wait::sync;
    case Kind::LOAD:
      return Wait::input;
    default:
      return Wait::stream;
  }
}

void add_launch(Timeline& timeline, Tracks& tracks, Rank rank, const Program& program, const Op& op, Nanos begin, Nanos end) {
  Span span;
  span.start = begin;
  span.end = end;
  span.has_op = false;
  span.op.iteration = op.iteration;
  span.track = tracks.of(rank, StreamKind::host);
  span.name = static_cast<std::int32_t>(timeline.names.size());
  timeline.names.push_back("launch " + cell(program, op));
  timeline.spans.push_back(span);
}

void drop_unrun(Timeline& timeline) {
  std::vector<std::int32_t> moved(timeline.spans.size(), -1);
  std::vector<Span> ran;
  for (std::size_t i = 0; i < timeline.spans.size(); ++i) {
    if (timeline.spans[i].end < 0) continue;
    moved[i] = static_cast<std::int32_t>(ran.size());
    ran.push_back(timeline.spans[i]);
  }
  for (Span& span : ran) span.waited_for = span.waited_for < 0 ? -1 : moved[static_cast<std::size_t>(span.waited_for)];
  timeline.spans = std::move(ran);
}

}  // namespace bubblescope
