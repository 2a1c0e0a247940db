// What a schedule search works on: one chain of stages with split backwards, as flat arrays of durations,
// latencies and memory limits; the order of a rank as a row of short codes; and what an order costs.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/schedules/registry.hpp"

namespace bubblescope {

/// The three ops of a stage and microbatch, in the order in which they depend on each other.
enum class Phase : std::uint8_t { F, I, W };
inline constexpr int kPhases = 3;

/// An op of a rank's row: which of the rank's chunks, and what. The k-th equal code of a row is
/// microbatch k: microbatches never overtake each other.
struct RowOp {
  std::uint8_t code = 0;
  constexpr RowOp() = default;
  constexpr RowOp(int chunk, Phase phase) : code(static_cast<std::uint8_t>(chunk * kPhases + static_cast<int>(phase))) {}
  constexpr int chunk() const { return code / kPhases; }
  constexpr Phase phase() const { return static_cast<Phase>(code % kPhases); }
  friend constexpr bool operator==(RowOp, RowOp) = default;
};
/// Rank -> its ops in order.
using RowOrder = std::vector<std::vector<RowOp>>;

/// One chain of stages, every rank holding `chunks` of them.
struct PipelineProblem {
  std::int32_t ranks = 1;
  std::int32_t chunks = 1;
  Microbatch microbatches = 1;
  std::vector<Rank> stage_rank;               ///< stage -> rank
  std::vector<std::int32_t> stage_chunk;      ///< stage -> its number among its rank's stages
  std::vector<Stage> held;                    ///< [rank * chunks + chunk] -> stage
  std::vector<std::array<Nanos, kPhases>> duration;  ///< stage -> F, I, W
  std::vector<Nanos> forward_latency;         ///< stage -> what its F waits after the F of the stage before
  std::vector<Nanos> backward_latency;        ///< stage -> what its I waits after the I of the stage behind
  std::vector<std::int32_t> limit;            ///< rank -> most stage activations alive

  Stage stages() const { return static_cast<Stage>(stage_rank.size()); }
  Stage stage(Rank rank, int chunk) const { return held[static_cast<std::size_t>(rank * chunks + chunk)]; }
  Nanos cost(Stage stage, Phase phase) const { return duration[static_cast<std::size_t>(stage)][static_cast<std::size_t>(phase)]; }
  /// Of one microbatch: F, I and W of all the rank's stages.
  Nanos work(Rank rank) const;
  std::size_t op_count() const { return stage_rank.size() * static_cast<std::size_t>(microbatches) * kPhases; }
};

/// The problem that `placed` (a Program without ops, one chain) poses under the shape's costs and links.
/// `limit`: rank -> most stage activations alive.
PipelineProblem pipeline_problem(const ScheduleShape& shape, const Program& placed, std::vector<std::int32_t> limit);

/// When an order ends. Both count from the first start, every op as early as possible.
struct OrderTime {
  Nanos makespan = 0;
  Nanos span = 0;  ///< the longest time from a rank's first start to its last end
  friend bool operator==(const OrderTime&, const OrderTime&) = default;
};

/// No order within the memory limits can be faster. A rank's span is at least its work and what it must stand
/// idle: F(0) of its first stage comes back as a gradient after the chain's time, and until then at most
/// `limit` forwards can run; and after the last of its forwards, which waits for all but `limit - 1` of the
/// others to have left memory, comes the chain once more. A makespan is the longest span after the forward
/// chain that leads to its rank.
OrderTime lower_bound(const PipelineProblem& problem);

/// Times orders of one problem: a relaxation along the rows, linear in the ops. Keeps its arrays between calls.
class OrderTimer {
 public:
  explicit OrderTimer(const PipelineProblem& problem);
  /// Times `rows`. Returns whether they can run at all; else nothing below is of use.
  bool run(const RowOrder& rows);

  const OrderTime& time() const { return time_; }
  Nanos start(Rank rank, std::size_t position) const { return start_[row_begin_[static_cast<std::size_t>(rank)] + position]; }
  Nanos end(Rank rank, std::size_t position) const { return end_[row_begin_[static_cast<std::size_t>(rank)] + position]; }
  /// Where in its rank's row an op stood.
  std::int32_t position(Stage stage, Phase phase, Microbatch microbatch) const {
    return position_[(static_cast<std::size_t>(stage) * kPhases + static_cast<std::size_t>(phase)) * static_cast<std::size_t>(problem_->microbatches) +
                     static_cast<std::size_t>(microbatch)];
  }
  /// Of all ops of a row.
  const Microbatch* microbatches(Rank rank) const { return microbatch_.data() + row_begin_[static_cast<std::size_t>(rank)]; }
  Microbatch microbatch(Rank rank, std::size_t position) const { return microbatch_[row_begin_[static_cast<std::size_t>(rank)] + position]; }

 private:
  /// All that is the same for every microbatch of a rank's op, and how many have run.
  struct Slot {
    Nanos duration = 0, way = 0;
    std::size_t input = 0, output = 0, position = 0;
    Rank receiver = 0;
    Microbatch count = 0;
  };

  const PipelineProblem* problem_;
  OrderTime time_;
  std::vector<Slot> slots_;          ///< [rank][code]
  std::vector<std::size_t> row_begin_;
  std::vector<Nanos> start_, end_;
  std::vector<Microbatch> microbatch_;
  std::vector<std::int32_t> position_;
  std::vector<Nanos> ready_;         ///< [stage][F, I][microbatch]: when its input is there; -1: not yet known
  std::vector<std::int32_t> next_;   ///< [rank] -> position
  std::vector<Nanos> free_;          ///< [rank]
  std::vector<Rank> runnable_;
  std::vector<std::uint8_t> queued_;
};

/// Most stage activations alive on every rank.
std::vector<std::int32_t> peak_activations(const PipelineProblem& problem, const RowOrder& rows);

}  // namespace bubblescope
