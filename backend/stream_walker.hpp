// One rank's part of a run on streams, on that rank's own thread: issues every op of the rank as soon as all that
// it waits for has been issued. Used by the stream executor alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/clock.hpp"
#include "backend/executor.hpp"
#include "backend/run_control.hpp"
#include "backend/stream_plan.hpp"
#include "backend/streams.hpp"

namespace bubblescope {

/// What all ranks of one run on streams share.
struct StreamRun {
  StreamRun(const Program& unrolled, const Program& one, const StreamPlan& streams_plan, Streams& on, std::span<Bell> rank_bells, RunControl& run_control, const ExecuteOptions& how, KernelActivity* kernel_activity = nullptr);

  /// Which of an op's events have been issued.
  enum Issued : std::uint8_t { arrival = 1, start = 2, end = 4 };
  bool has(OpIndex op, Issued what) const { return (issued[static_cast<std::size_t>(op)].load(std::memory_order_acquire) & what) != 0; }

  /// What the members of a collective contribute, in rank order.
  struct Meeting {
    std::vector<Payload> contributions;
    std::int64_t bytes = 0;             ///< that every member contributes
    std::atomic<std::int32_t> left{0};  ///< members that have not looked yet
  };

  const Program& program;  ///< all iterations
  const Program& walk;     ///< one walk of the rows
  const StreamPlan& plan;
  Streams& streams;
  std::span<Bell> bells;
  RunControl& control;
  const ExecuteOptions& options;
  KernelActivity* kernels;  ///< null: not recorded
  std::vector<std::atomic<std::uint8_t>> issued;  ///< by op
  std::vector<Payload> payloads;                  ///< by message; touched by the work of lanes alone, in the order of their events
  std::vector<std::int64_t> bytes;                ///< by message
  std::vector<Meeting> meetings;                  ///< by group
};

/// What one rank notes while it issues.
struct StreamRecord {
  struct Memory {
    OpIndex op;
    MemoryUse use;
  };
  std::vector<std::pair<Nanos, Nanos>> issue;  ///< by op of the row: the host began and ended to issue it
  std::vector<Memory> memory;                  ///< after compute ops
};

class StreamWalker {
 public:
  /// All must outlive the run's last work, not only this.
  StreamWalker(StreamRun& run, Rank rank, Device& device, StreamRecord& record);

  /// Issues and waits until all of it is done. Never throws: a failure ends all ranks.
  void walk();

 private:
  struct Cursor {
    std::int32_t lane;
    std::size_t next = 0;
  };

  void issue_all();
  /// Whether the lane came on.
  bool advance(Cursor& cursor);
  bool advance_free();
  bool issuable(OpIndex op) const;
  bool all_arrived(std::int32_t group) const;
  void arrive(OpIndex op, std::int32_t lane);
  void issue(OpIndex op, std::int32_t lane);
  void work(OpIndex op);
  void compute(const Step& step, OpIndex op);
  void publish(OpIndex op, std::uint8_t what);
  void keep_in_reach(OpIndex op);
  /// Whether the op is of a walk that the run was ended before.
  bool cut_off(OpIndex op) const;

  const Op& op_at(OpIndex op) const;
  /// With the running iteration, as devices see it.
  Op numbered(Op op) const;
  std::string named(OpIndex op) const;

  StreamRun& run_;
  const Rank rank_;
  Device& device_;
  StreamRecord& record_;
  const OpIndex first_;  ///< of the row
  std::vector<Cursor> cursors_;
  std::vector<OpIndex> free_;  ///< sends of no FIFO whose data has been made and that are still to be issued
  std::vector<OpIndex> issued_free_;
  std::vector<OpIndex> computed_;  ///< ops of the compute lane that were issued
  std::int64_t begun_ = -1;  ///< walks whose ops this rank issues
  bool samples_memory_ = true;
};

}  // namespace bubblescope
