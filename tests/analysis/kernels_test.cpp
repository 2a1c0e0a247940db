// Ops taken apart into kernels, copies and gaps, with times added up by hand.
#include "analysis/kernels.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "analysis/bubbles.hpp"
#include "analysis/chrome_trace.hpp"
#include "sim/core/cut_iterations.hpp"
#include "sim/core/error.hpp"
#include "tests/analysis/build_timeline.hpp"

namespace bubblescope {
namespace {

/// Puts parts of ops and hosts' launches on a Timeline.
class Parts {
 public:
  Parts() : builder_(2, 2, 4) {}

  std::int32_t op(Rank rank, const char* cell, Nanos start, Nanos end, std::int32_t iteration = 0) {
    return builder_.add(rank, cell, start, end, Wait::nothing, -1, iteration);
  }
  void part(StreamKind stream, std::int32_t of, const char* name, Nanos start, Nanos end, std::int64_t bytes = 0) {
    Timeline& timeline = builder_.timeline();
    const Rank rank = timeline.tracks[static_cast<std::size_t>(timeline.spans[static_cast<std::size_t>(of)].track)].rank;
    add(stream, rank, name, start, end, timeline.spans[static_cast<std::size_t>(of)].op.iteration, of, bytes);
  }
  void kernel(std::int32_t of, const char* name, Nanos start, Nanos end) { part(StreamKind::kernel, of, name, start, end); }
  void launch(Rank rank, const char* cell, Nanos start, Nanos end, std::int32_t iteration = 0) {
    add(StreamKind::host, rank, std::string("launch ") + cell, start, end, iteration, -1, 0);
  }
  Timeline& timeline() { return builder_.timeline(); }

 private:
  void add(StreamKind stream, Rank rank, const std::string& name, Nanos start, Nanos end, std::int32_t iteration, std::int32_t of, std::int64_t bytes) {
    Timeline& timeline = builder_.timeline();
    Span span;
    span.has_op = false;
    span.op.iteration = iteration;
    span.start = start;
    span.end = end;
    span.bytes = bytes;
    span.waited_for = of;
    span.track = static_cast<std::int32_t>(timeline.tracks.size());
    timeline.tracks.push_back({rank, stream, "more"});
    span.name = static_cast<std::int32_t>(timeline.names.size());
    timeline.names.push_back(name);
    timeline.spans.push_back(span);
  }
  TimelineBuilder builder_;
};

// n kernels of k ns, g ns apart, in an op that begins and ends with a gap g: n k in kernels, (n + 1) g in gaps.
TEST(Kernels, equal_ones_at_equal_distances_leave_one_gap_more_than_there_are) {
  for (const Nanos n : {1, 2, 7}) {
    for (const Nanos k : {1, 30}) {
      for (const Nanos g : {0, 4}) {
        Parts parts;
        const auto op = parts.op(0, "0F0", 100, 100 + n * k + (n + 1) * g);
        for (Nanos i = 0; i < n; ++i) parts.kernel(op, "k", 100 + g + i * (k + g), 100 + (i + 1) * (k + g));
        const KernelBreakdown found = kernel_breakdown(parts.timeline());
        ASSERT_EQ(found.groups.size(), 1u);
        const KernelGroup& group = found.groups[0];
        EXPECT_EQ(group.kernels, n);
        EXPECT_EQ(group.kernel_time, n * k);
        EXPECT_EQ(group.gap_time, (n + 1) * g);
        EXPECT_EQ(group.op_time, group.kernel_time + group.copy_time + group.gap_time);
        EXPECT_EQ(group.outside_time, 0);
      }
    }
  }
}

TEST(Kernels, that_overlap_count_once_and_copies_only_where_no_kernel_runs) {
  Parts parts;
  const auto op = parts.op(1, "1B2", 0, 100);
  parts.kernel(op, "a", 10, 40);
  parts.kernel(op, "b", 20, 30);                                 // inside a
  parts.kernel(op, "a", 35, 50);                                 // beyond a
  parts.part(StreamKind::copy, op, "copy", 45, 70, 4096);        // 20 of 25 apart from a
  parts.part(StreamKind::copy, op, "fill", 60, 65, 100);         // inside the copy
  const KernelGroup group = kernel_breakdown(parts.timeline()).groups.at(0);
  EXPECT_EQ(group.rank, 1);
  EXPECT_EQ(group.stage, 1);
  EXPECT_EQ(group.kind, Kind::B);
  EXPECT_EQ(group.kernels, 3);
  EXPECT_EQ(group.copies, 2);
  EXPECT_EQ(group.bytes, 4196);
  EXPECT_EQ(group.kernel_time, 40);
  EXPECT_EQ(group.copy_time, 20);
  EXPECT_EQ(group.gap_time, 40);
  EXPECT_DOUBLE_EQ(group.gap_share(), 0.4);
}

TEST(Kernels, outside_of_their_op_are_told_apart) {
  Parts parts;
  const auto op = parts.op(0, "0F0", 100, 200);
  parts.kernel(op, "early", 90, 110);
  parts.kernel(op, "late", 195, 220);
  parts.kernel(op, "later", 300, 301);
  const KernelGroup group = kernel_breakdown(parts.timeline()).groups.at(0);
  EXPECT_EQ(group.kernel_time, 15);
  EXPECT_EQ(group.gap_time, 85);
  EXPECT_EQ(group.outside_time, 10 + 20 + 1);
}

TEST(Kernels, are_added_up_by_rank_stage_and_kind_and_ops_without_any_count) {
  Parts parts;
  for (const std::int32_t iteration : {0, 1}) {
    const Nanos base = 1000 * iteration;
    const auto f = parts.op(0, "0F0", base, base + 100, iteration);
    parts.kernel(f, "gemm", base, base + 60);
    parts.kernel(f, "add", base + 60, base + 70);
    const auto b = parts.op(0, "0B0", base + 200, base + 300, iteration);
    parts.kernel(b, "gemm", base + 200, base + 290);
    parts.op(0, "0F1", base + 400, base + 440, iteration);  // empty
    parts.op(1, "1U", base, base + 10, iteration);          // nothing known of its group
  }
  const KernelBreakdown found = kernel_breakdown(parts.timeline());
  ASSERT_EQ(found.groups.size(), 2u);
  const KernelGroup &f = found.groups[0], &b = found.groups[1];
  EXPECT_EQ(f.kind, Kind::F);
  EXPECT_EQ(f.ops, 4);
  EXPECT_EQ(f.kernels, 4);
  EXPECT_EQ(f.op_time, 280);
  EXPECT_EQ(f.kernel_time, 140);
  EXPECT_EQ(f.gap_time, 140);
  EXPECT_EQ(b.kind, Kind::B);
  EXPECT_EQ(b.kernel_time, 180);
  ASSERT_EQ(found.longest.size(), 2u);
  EXPECT_EQ(found.longest[0].name, "gemm");
  EXPECT_EQ(found.longest[0].launches, 4);
  EXPECT_EQ(found.longest[0].time, 300);
  EXPECT_EQ(found.longest[1].time, 20);
  EXPECT_EQ(f.longest[0].time, 120);
}

TEST(Kernels, wait_for_launches_while_the_host_still_issues_their_op) {
  Parts parts;
  const auto slow = parts.op(0, "0F0", 100, 200);  // gaps 110 to 150 and 160 to 200
  parts.kernel(slow, "k", 100, 110);
  parts.kernel(slow, "k", 150, 160);
  parts.launch(0, "0F0", 90, 165);
  parts.launch(1, "0F0", 0, 1000);     // another rank's
  parts.launch(0, "0F0", 0, 1000, 1);  // another iteration's
  const auto fast = parts.op(0, "0B0", 300, 400);  // issued long before
  parts.kernel(fast, "k", 310, 320);
  parts.launch(0, "0B0", 165, 200);
  const KernelBreakdown found = kernel_breakdown(parts.timeline());
  const KernelGroup &f = found.groups.at(0), &b = found.groups.at(1);
  EXPECT_EQ(f.gap_time, 80);
  EXPECT_EQ(f.issuing_time, 40 + 5);
  EXPECT_TRUE(f.launch_bound());
  EXPECT_EQ(b.gap_time, 90);
  EXPECT_EQ(b.issuing_time, 0);
  EXPECT_FALSE(b.launch_bound());
}

TEST(Kernels, of_no_op_are_an_error) {
  Parts parts;
  const auto op = parts.op(0, "0F0", 0, 10);
  parts.kernel(op, "k", 0, 5);
  parts.timeline().spans.back().waited_for = -1;
  EXPECT_THROW(kernel_breakdown(parts.timeline()), InputError);
}

TEST(Kernels, survive_file_and_cut_and_are_no_busy_time) {
  Parts parts;
  for (const std::int32_t iteration : {0, 1}) {
    const auto op = parts.op(0, "0F0", 100 * iteration, 100 * iteration + 50, iteration);
    parts.kernel(op, "k<\"4\">", 100 * iteration + 10, 100 * iteration + 30);
    parts.part(StreamKind::copy, op, "copy", 100 * iteration + 30, 100 * iteration + 35, 64);
  }
  parts.timeline().iterations = 2;
  const Timeline cut = cut_iterations(timeline_from_json(timeline_to_json(parts.timeline()), "kernels.json"), 1);
  const KernelBreakdown found = kernel_breakdown(cut);
  ASSERT_EQ(found.groups.size(), 1u);
  EXPECT_EQ(found.groups[0].ops, 1);
  EXPECT_EQ(found.groups[0].kernel_time, 20);
  EXPECT_EQ(found.groups[0].copy_time, 5);
  EXPECT_EQ(found.groups[0].bytes, 64);
  EXPECT_EQ(found.longest.at(0).name, "k<\"4\">");
  EXPECT_EQ(bubbles(cut).idle_fraction, 0.5);  // of the two ranks one has nothing to do
  std::ostringstream trace;
  write_chrome_trace(trace, cut);
  EXPECT_NE(trace.str().find(R"("name": "k\u003c\"4\"\u003e", "cat": "kernel")"), std::string::npos) << trace.str();
  EXPECT_NE(trace.str().find(R"("part_of": "0F0")"), std::string::npos);
  EXPECT_EQ(trace.str().find(R"("waited": "stream: 0F0)"), std::string::npos);
}

}  // namespace
}  // namespace bubblescope
