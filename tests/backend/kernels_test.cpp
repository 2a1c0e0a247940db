// Kernels find their op, their rank and their place in time.
#include "backend/kernels.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "backend/clock.hpp"
#include "backend/reported_kernels.hpp"
#include "sim/core/error.hpp"
#include "tests/backend/stream_runs.hpp"

namespace bubblescope {
namespace {

/// Names of PyTorch's and cuBLAS's kernels, as the compiler mangles them.
TEST(Kernels, have_names_for_people) {
  EXPECT_EQ(kernel_name("_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_15CUDAFunctor_addIfEESt5arrayIPcLm3EEEEviT0_T1_"),
            "vectorized_elementwise_kernel<4, CUDAFunctor_add<float>, array<char*,...");
  EXPECT_EQ(kernel_name("_ZN2at6native31_GLOBAL__N__0000_7_Copy_cu_00004copyEPf"), "copy");
  EXPECT_EQ(kernel_name("_ZN12_GLOBAL__N_14fillILi2EEEvPf"), "fill<2>");
  EXPECT_EQ(kernel_name("sm90_xmma_gemm_f32f32_tf32f32_f32_nn_n"), "sm90_xmma_gemm_f32f32_tf32f32_f32_nn_n");
  EXPECT_EQ(kernel_name("_Znot a mangled name"), "_Znot a mangled name");
  EXPECT_EQ(kernel_name(""), "");
}

/// Rank 0 runs 0F0 in [100, 200) and 0B0 in [300, 500), rank 1 1F0 in [200, 300).
Timeline three_ops() {
  Timeline timeline;
  timeline.ranks = 2;
  timeline.tracks = {{0, StreamKind::compute, "rank 0 compute"}, {1, StreamKind::compute, "rank 1 compute"}};
  const auto add = [&](const char* cell, std::int32_t track, Nanos start, Nanos end) {
    Span span;
    span.op = *parse_cell(cell);
    span.track = track;
    span.start = start;
    span.end = end;
    timeline.spans.push_back(span);
  };
  add("0F0", 0, 100, 200);
  add("0B0", 0, 300, 500);
  add("1F0", 1, 200, 300);
  return timeline;
}

const std::vector<std::int32_t> kSame = {0, 1, 2};

TEST(Kernels, become_spans_of_their_ops_rank_and_overlapping_ones_get_tracks_of_their_own) {
  Timeline timeline = three_ops();
  timeline.names = {"there before"};
  KernelRecords activity;
  activity.names = {"a", "copy"};
  activity.records = {{2, 0, 210, 290}, {0, 0, 110, 150}, {0, 0, 140, 160}, {0, 0, 160, 170}, {1, 1, 310, 400, 64}};
  EXPECT_EQ(add_kernels(timeline, kSame, activity), 0);
  ASSERT_EQ(timeline.spans.size(), 8u);
  std::map<std::string, std::vector<Nanos>> starts;
  for (std::size_t i = 3; i < timeline.spans.size(); ++i) {
    const Span& span = timeline.spans[i];
    EXPECT_FALSE(span.has_op);
    starts[timeline.tracks[static_cast<std::size_t>(span.track)].name].push_back(span.start);
    const Span& op = timeline.spans[static_cast<std::size_t>(span.waited_for)];
    EXPECT_LE(op.start, span.start);
    EXPECT_GE(op.end, span.end);
    EXPECT_EQ(timeline.tracks[static_cast<std::size_t>(op.track)].rank, timeline.tracks[static_cast<std::size_t>(span.track)].rank);
  }
  EXPECT_EQ(starts, (std::map<std::string, std::vector<Nanos>>{
                        {"rank 0 kernels", {110, 160}}, {"rank 0 kernels 2", {140}}, {"rank 0 copies", {310}}, {"rank 1 kernels", {210}}}));
  EXPECT_EQ(timeline.span_name(timeline.spans[3]), "a");
  EXPECT_EQ(timeline.spans[7].bytes, 64);
  EXPECT_EQ(timeline.span_name(timeline.spans[7]), "copy");
}

TEST(Kernels, of_ops_that_are_not_there_are_left_out) {
  Timeline timeline = three_ops();
  KernelRecords activity;
  activity.names = {"a"};
  activity.records = {{0, 0, 110, 120}, {1, 0, 310, 320}, {7, 0, 1, 2}, {-1, 0, 1, 2}};
  add_kernels(timeline, std::vector<std::int32_t>{-1, 1, 2}, activity);
  ASSERT_EQ(timeline.spans.size(), 4u);
  EXPECT_EQ(timeline.spans[3].start, 310);
}

// Two clocks that differ by c: kernels that fill all but 10 ns at both ends of their ops fit again after a move of
// c - 10 at least.
TEST(Kernels, are_moved_no_farther_than_they_have_to_be) {
  for (const Nanos clock : {-1000, -25, 0, 10, 700}) {
    Timeline timeline = three_ops();
    KernelRecords activity;
    activity.names = {"a"};
    activity.records = {{0, 0, 110 + clock, 190 + clock}, {1, 0, 310 + clock, 490 + clock}, {2, 0, 210, 220}};
    const Nanos moved = clock > 10 ? 10 - clock : clock < -10 ? -10 - clock : 0;
    EXPECT_EQ(add_kernels(timeline, kSame, activity), moved) << clock;
    EXPECT_EQ(timeline.spans[3].waited_for == 2 ? timeline.spans[4].start : timeline.spans[3].start, 110 + clock + moved) << clock;
    for (const Span& span : timeline.spans) {
      if (span.has_op || span.waited_for != 2) continue;
      EXPECT_EQ(span.start, 210) << "rank 1 has a clock of its own";
    }
  }
}

// One kernel far outside of its op does not draw the others out of theirs.
TEST(Kernels, a_stray_one_moves_none_of_the_others) {
  Timeline timeline = three_ops();
  Span third = timeline.spans[0];
  third.start = 600, third.end = 700;
  timeline.spans.push_back(third);
  KernelRecords activity;
  activity.names = {"a"};
  activity.records = {{0, 0, 100, 200}, {1, 0, 300, 500}, {3, 0, 5000, 5001}};
  EXPECT_EQ(add_kernels(timeline, std::vector<std::int32_t>{0, 1, 2, 3}, activity), 0);
}

/// Reports two kernels and a copy for every compute op, one after another.
class ReportingBackend : public Backend {
 public:
  explicit ReportingBackend(ReportedKernels& kernels) : kernels_(kernels) {}
  std::string name() const override { return "reporting"; }
  std::unique_ptr<Device> device(Rank rank, const Program&) override { return std::make_unique<Reporting>(rank, kernels_); }

 private:
  class Reporting : public Device {
   public:
    Reporting(Rank rank, ReportedKernels& kernels) : rank_(rank), kernels_(kernels) {}
    void execute(const Op& op) override {
      report(op, "first");
      report(op, "second");
      report(op, "copy", 8);
    }
    Payload output(const Op&) override { return {}; }
    void input(const Op&, Payload) override {}
    Payload example(const Op&) override { return {}; }

   private:
    void report(const Op& op, const char* what, std::int64_t bytes = -1) {
      const Nanos start = steady_now();
      wait_until(start + 10 * kMicrosecond, 10 * kMicrosecond);
      kernels_.report(fmt::format("{} of {}:{} on {}", what, op.iteration, cell(op), rank_), start, steady_now(), bytes);
    }
    Rank rank_;
    ReportedKernels& kernels_;
  };
  ReportedKernels& kernels_;
};

Execution run_reporting(const char* schedule, const ExecuteOptions& options, ReportedKernels& kernels, bool offered = true) {
  ReportingBackend devices(kernels);
  HostStreamOptions streams = late_at_random(4);
  if (offered) streams.kernels = &kernels;
  HostStreamBackend backend(devices, streams);
  const Program program = on_ranks(find_schedule(schedule), 3);
  Ranks ranks(backend, program, {});
  return execute(program, ranks, options);
}

TEST(Kernels, of_every_measured_op_lie_in_it_and_on_its_rank_and_the_warm_up_is_cut_off) {
  for (const char* name : {"1f1b", "ppll", "zbv", "pipedream"}) {
    SCOPED_TRACE(name);
    ReportedKernels kernels;
    ExecuteOptions options;
    options.iterations = 2;
    options.warmup = 1;
    options.kernels = true;
    const Execution execution = run_reporting(name, options, kernels);
    EXPECT_EQ(execution.kernels_lost, 0);
    EXPECT_EQ(execution.kernels_shifted, 0);
    const Timeline& timeline = execution.timeline;
    std::map<std::int32_t, int> kernels_of, copies_of;
    for (const Span& span : timeline.spans) {
      const Track& track = timeline.tracks[static_cast<std::size_t>(span.track)];
      if (span.has_op) continue;
      const Span& op = timeline.spans.at(static_cast<std::size_t>(span.waited_for));
      const std::string kernel = timeline.span_name(span);
      // The device saw the warm-up as iteration 0.
      EXPECT_TRUE(kernel.ends_with(fmt::format(" of {}:{} on {}", op.op.iteration + 1, cell(op.op), track.rank))) << kernel;
      EXPECT_EQ(span.op.iteration, op.op.iteration);
      EXPECT_GE(span.start, op.start);
      EXPECT_LE(span.end, op.end);
      ++(track.stream == StreamKind::kernel ? kernels_of : copies_of)[span.waited_for];
    }
    int ops = 0;
    for (std::size_t i = 0; i < timeline.spans.size(); ++i) {
      if (!timeline.spans[i].has_op || !is_compute(timeline.spans[i].op.kind)) continue;
      ++ops;
      EXPECT_EQ(kernels_of[static_cast<std::int32_t>(i)], 2);
      EXPECT_EQ(copies_of[static_cast<std::int32_t>(i)], 1);
    }
    EXPECT_GT(ops, 0);
    EXPECT_EQ(kernels_of.size(), static_cast<std::size_t>(ops));
  }
}

TEST(Kernels, are_not_recorded_unless_asked_for) {
  ReportedKernels kernels;
  ExecuteOptions options;
  const Timeline timeline = run_reporting("1f1b", options, kernels).timeline;
  for (const Span& span : timeline.spans) EXPECT_TRUE(span.has_op);
}

TEST(Kernels, of_backends_that_have_none_are_refused) {
  ReportedKernels kernels;
  ExecuteOptions options;
  options.kernels = true;
  const auto message = [](const auto& run) -> std::string {
    try {
      run();
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message([&] { run_reporting("gpipe", options, kernels, false); }), kNoKernels);
  NullBackend null{StageCosts(2)};
  const Program program = on_ranks(find_schedule("gpipe"), 2);
  Ranks ranks(null, program, {});
  EXPECT_EQ(message([&] { execute(program, ranks, options); }), kNoKernels);
}

}  // namespace
}  // namespace bubblescope
