// A measured Timeline beside the Program that was walked: every op once, in its row's order, after what it depends on.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "sim/core/costs.hpp"
#include "sim/core/dependencies.hpp"
#include "sim/core/op_table.hpp"
#include "sim/core/program.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {

/// Unequal, so that ranks wait for each other in all directions.
inline StageCosts uneven_costs(std::int32_t stages) {
  StageCosts costs(stages);
  for (Stage s = 0; s < stages; ++s) {
    for (int k = 0; k <= static_cast<int>(Kind::U); ++k) costs.at(s, static_cast<Kind>(k)).duration = (20 + 15 * ((s + k) % 3)) * kMicrosecond;
    costs.bytes(s).output = 1000;
  }
  return costs;
}

using Identity = std::tuple<std::int32_t, int, Kind, Stage, Microbatch, int>;
inline Identity identity(const Op& op) { return {op.iteration, op.operand, op.kind, op.stage, op.microbatch, op.slice}; }

/// The spans of a run in the order of the program's ops, each exactly once.
class Walked {
 public:
  /// `clocks`: how far the clocks of different ranks may be apart.
  Walked(const Program& one, const Timeline& timeline, std::int32_t iterations, Nanos clocks = 0) : timeline_(timeline), program_(repeat_iterations(one, iterations)), clocks_(clocks) {
    std::map<Identity, std::int32_t> place;
    for (std::size_t i = 0; i < timeline.spans.size(); ++i) {
      Op op = timeline.spans[i].op;
      if (is_compound(op.kind)) op.operand += op.iteration * static_cast<std::int32_t>(one.compounds.size());
      const bool first = place.try_emplace(identity(op), static_cast<std::int32_t>(i)).second;
      EXPECT_TRUE(first) << cell(program_, op) << " was run twice in iteration " << op.iteration;
    }
    for (const auto& row : program_.rows) {
      for (const Op& op : row) {
        const auto found = place.find(identity(op));
        EXPECT_TRUE(found != place.end()) << cell(program_, op) << " of iteration " << op.iteration << " was not run";
        spans_.push_back(found == place.end() ? -1 : found->second);
      }
    }
    EXPECT_EQ(timeline.spans.size(), program_.op_count());
  }

  bool complete() const { return std::find(spans_.begin(), spans_.end(), -1) == spans_.end(); }
  const Program& program() const { return program_; }
  const Span& span(OpIndex op) const { return timeline_.spans[static_cast<std::size_t>(spans_[static_cast<std::size_t>(op)])]; }
  const Op& op(OpIndex index) const {
    const OpAt place = locate(row_offsets(program_), index);
    return program_.rows[static_cast<std::size_t>(place.rank)][static_cast<std::size_t>(place.position)];
  }

  void check_dependencies(Nanos wire) const {
    const Dependencies dependencies = derive_dependencies(program_);
    for (OpIndex i = 0; i < static_cast<OpIndex>(program_.op_count()); ++i) {
      for (const Dependency& dependency : dependencies.of(i)) {
        const Span& before = span(dependency.source);
        if (dependency.edge == Edge::message) {
          // A holding send ends at acceptance, any other with its transfer.
          const bool holding = program_.channels.front().send == Send::holding;
          EXPECT_GE(span(i).end, before.end + (holding ? wire : 0) - clocks_) << cell(program_, op(i)) << " of iteration " << op(i).iteration;
        } else {
          EXPECT_GE(span(i).start, before.end - (span(i).track == before.track ? 0 : clocks_)) << cell(program_, op(i)) << " before its " << cell(program_, op(dependency.source));
        }
      }
    }
  }

  /// No two ops at once on a rank's compute track, and the rows' order kept.
  void check_rows() const {
    OpIndex index = 0;
    for (const auto& row : program_.rows) {
      Nanos free = 0;
      for (const Op& op : row) {
        const Span& ran = span(index++);
        if (!is_compute(op.kind)) continue;
        EXPECT_GE(ran.start, free) << cell(program_, op);
        EXPECT_GE(ran.end, ran.start);
        free = ran.end;
      }
    }
  }

  void check_waits() const {
    for (const Span& span : timeline_.spans) {
      if (span.waited_for < 0) continue;
      const Span& other = timeline_.spans[static_cast<std::size_t>(span.waited_for)];
      // What was waited for had begun when the wait ended: by then a send has been accepted, an op started.
      EXPECT_LE(other.start, std::max(span.end, span.start) + clocks_) << timeline_.span_name(span) << " waited for " << timeline_.span_name(other);
    }
  }

 private:
  const Timeline& timeline_;
  Program program_;
  std::vector<std::int32_t> spans_;
  Nanos clocks_;
};

}  // namespace bubblescope
