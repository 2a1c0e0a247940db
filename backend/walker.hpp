// One rank's walk through its steps, on that rank's own thread. Used by the executor alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend/channels.hpp"
#include "backend/clock.hpp"
#include "backend/executor.hpp"
#include "backend/meetings.hpp"
#include "backend/nvtx.hpp"
#include "backend/plan.hpp"
#include "backend/records.hpp"
#include "backend/run_control.hpp"

namespace bubblescope {

/// What all ranks of one execution use.
struct Run {
  const Program& program;
  const ExecuteOptions& options;
  const Plan& plan;
  std::span<Bell> bells;
  Channels& channels;
  Meetings& meetings;
  std::int32_t start;  ///< the meeting of all ranks before the first op
  RunControl& control;
  Nanos spin;
  std::span<std::atomic<std::int64_t>> places;  ///< by rank: where it is, as of `place_of`
};

/// Where a rank is: its walk and the number of the step in it, in one number that can be read while it goes on.
constexpr std::int64_t kStepBits = 24;
constexpr std::int64_t place_of(std::int64_t walk, std::int64_t step) { return (walk << kStepBits) | step; }

/// Walks a rank's steps as often as the run's control says, and records the measured walks.
class Walker {
 public:
  /// All arguments must outlive this.
  Walker(Run& run, Rank rank, Device& device, RankRecord& record);

  /// Never throws: a failure ends all ranks.
  void walk();

 private:
  /// Asks for the memory of the record, before the clock runs.
  void reserve();
  /// The running number of a walk's first iteration.
  std::int32_t first_of_walk(std::int64_t walk) const;
  void fail(const std::string& what);
  /// An op of the current step as the device sees it: with the running iteration.
  Op numbered(Op op) const;
  NvtxRange annotate(const Step& step) const;

  void take(const Step& step);
  /// The walk that a step is of: for late ones the one before.
  std::int64_t walk_of(const Step& step) const { return walk_ - (step.late ? 1 : 0); }
  void compute(const Step& step);
  void receive_posted(const Message& message, const Delivery& delivery, bool blocked);
  void run_op(const Step& step);
  void send(const Step& step);
  void receive(const Step& step);
  void meet(const Step& step);
  const EdgePlan& edge_of(std::int32_t message) const;
  /// Waits until the data of a message is there; returns whether that took any waiting.
  bool await_data(std::int32_t message, Delivery& delivery);

  /// Begins a span, or not; why it starts no earlier is what this rank waited for last.
  SpanRef begin_span(Op op, Nanos start);
  Record& span(SpanRef ref) { return record_.spans[static_cast<std::size_t>(ref.index)]; }
  void waited(Wait wait, SpanRef span);
  /// Of the op that ran from `start` to `end`: while it ran its peak, then what is left.
  void sample_memory(Nanos start, Nanos end);

  Run& run_;
  const Rank rank_;
  Device& device_;
  RankRecord& record_;
  const std::vector<Step>& steps_;
  const Bell& bell_;
  std::vector<Op> parts_;
  const Step* step_ = nullptr;
  std::int64_t walk_ = 0;  ///< whose turn it is
  std::int64_t own_ = 0;   ///< that the current step is of
  bool recording_ = false;
  bool samples_memory_ = false;
  Wait wait_ = Wait::nothing;  // what this rank waited for last ...
  SpanRef waited_for_;         // ... and the span
};

}  // namespace bubblescope
