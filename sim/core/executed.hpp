// When the ops of a Program ran and what each waited for: what an engine finds out and a run on streams
// measures, and the Timeline of it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "sim/core/op_table.hpp"
#include "sim/core/program.hpp"
#include "sim/core/timeline.hpp"
#include "sim/core/tracks.hpp"

namespace bubblescope {

/// When an op ran and why not earlier. For a holding send: offered to accepted; for a receive: the
/// part of the wire time that came after its turn. Ops that never ran end at -1.
struct Executed {
  Nanos start = -1;
  Nanos end = -1;
  OpIndex waited_for = -1;
  Wait wait = Wait::nothing;
};

/// What an op waits for while the op of this kind before it in its sequence is not done. A receive
/// that takes no time of its own waited for the data's producer.
Wait wait_behind(Kind kind);

/// One span per op, `executed` by flat index, in that order; `bytes(index, op)` are those that it moves. One
/// compute track per rank, others where used.
template <class Bytes>
Timeline executed_timeline(const Program& program, std::string label, std::span<const Executed> executed, Bytes bytes) {
  Timeline timeline = empty_timeline(program, std::move(label));
  Tracks tracks(timeline);
  timeline.spans.resize(executed.size());
  OpIndex op = 0;
  for (Rank r = 0; r < program.ranks(); ++r) {
    for (const Op& what : program.rows[static_cast<std::size_t>(r)]) {
      const Executed& run = executed[static_cast<std::size_t>(op)];
      Span& span = timeline.spans[static_cast<std::size_t>(op)];
      span.start = run.start;
      span.end = run.end;
      span.op = what;
      span.track = tracks.of(r, stream_of(what.kind));
      span.waited_for = run.waited_for;
      span.wait = run.wait;
      span.bytes = bytes(op, what);
      if (is_compound(what.kind)) {
        span.name = static_cast<std::int32_t>(timeline.names.size());
        timeline.names.push_back(cell(program, what));
      }
      ++op;
    }
  }
  return timeline;
}

/// A span of a rank's host, while it issued `op`.
void add_launch(Timeline& timeline, Tracks& tracks, Rank rank, const Program& program, const Op& op, Nanos begin, Nanos end);

/// Takes out the spans of ops that never ran.
void drop_unrun(Timeline& timeline);

}  // namespace bubblescope
