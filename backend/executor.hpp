// The executor: walks a Program, one thread per rank, on a Backend's devices, and returns the
// measured Timeline. The same Program the simulator predicts.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "backend/backend.hpp"
#include "backend/payload_codec.hpp"
#include "backend/world.hpp"
#include "sim/core/cluster.hpp"
#include "sim/core/program.hpp"
#include "sim/core/timeline.hpp"

namespace bubblescope {

struct ExecuteOptions {
  std::int32_t iterations = 1;      ///< times the Program's rows are walked, without a barrier between
  std::int32_t first_iteration = 0; ///< number of the first (a resumed run goes on counting)
  std::int32_t warmup = 0;          ///< walks before the first measured one, run in addition
  std::vector<std::vector<int>> cores;  ///< rank -> cores its thread is pinned to; empty: not pinned
  bool record = true;               ///< false: no spans (long training)
  bool kernels = false;  ///< the Timeline has the kernels of every op, too: slower; for backends with a `KernelActivity`
  const std::atomic<bool>* stop = nullptr;  ///< set (by Ctrl-C): end after the iteration under way
  std::function<void(std::int32_t iteration)> progress;  ///< called by rank 0 after each iteration
  Cluster network;  ///< for backends whose transfers take no time of their own: links to imitate;
                    ///< no devices: transfers are as fast as they are
  std::int32_t run_ahead = 64;  ///< on streams: ops that a rank's host issues before they are done
  Nanos spin = -1;  ///< how long a waiting rank polls before it sleeps; -1: briefly where every rank can
                    ///< have a core, else not at all. On streams nobody polls
};

struct Execution {
  Timeline timeline;                ///< time zero: all ranks released together; on streams the first measured op.
                                    ///< Of several processes the first has it whole, the others an empty one
  std::vector<ClockFit> clocks;     ///< by process, at the first of several: how its clock was related to the first's
  std::int32_t iterations_done = 0; ///< fewer than asked for when stopped
  bool stopped = false;
  std::int32_t next_iteration = 0;  ///< number with which a run that goes on from here begins
  std::int64_t kernels_lost = 0;    ///< that the Timeline lacks, where it was to have kernels
  Nanos kernels_shifted = 0;        ///< the farthest that a rank's kernels were moved to lie within their ops
};

/// Devices that outlive one execution: weights and optimizer state stay in them between calls.
/// Owns one thread per rank of this process; every Device call of a rank happens on its thread. Over several processes
/// everything here is done by all of them together, in the same order.
class Ranks {
 public:
  /// Starts the threads, pins them, makes the devices. `backend` and `world` must outlive this; `world`: null where this
  /// process has all ranks. Throws what a device's constructor throws.
  Ranks(Backend& backend, const Program& program, std::vector<std::vector<int>> cores, World* world = nullptr);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  std::int32_t count() const { return count_; }  ///< in all processes
  RankRange own() const { return own_; }         ///< in this one
  World* world() const { return world_; }
  const PayloadCodec& codec() const { return codec_; }
  /// How long a waiting rank polls before it sleeps: not at all where ranks of this host share cores.
  Nanos spin() const { return spin_; }
  /// Whether it is so in any process.
  bool any(bool here) const { return world_ == nullptr ? here : world_->any(here); }
  /// Of the backend; null where its devices work at once.
  StreamSource* stream_source() const { return stream_source_; }
  /// Runs `work(rank, device)` on every rank's thread at once and waits; throws the first failure (by rank), after all have
  /// ended. Over processes in every one of them, as InputError or CommonError.
  void each(const std::function<void(Rank, Device&)>& work);

 private:
  struct Thread;
  /// Throws the first process's failure in all of them: what is then done together stays in step.
  void throw_together(const std::exception_ptr& mine) const;

  StreamSource* stream_source_ = nullptr;
  const PayloadCodec& codec_;
  World* world_;
  std::int32_t count_;
  RankRange own_;
  Nanos spin_ = 0;
  std::vector<std::unique_ptr<Thread>> threads_;
};

/// Executes `program` (with communication: sim/lower/send_recv.hpp) on `ranks`. Refuses a Program
/// that fails validation. When a rank fails, the others are woken and end, and its error is rethrown
/// as RunError naming rank and op. Throws InputError where kernels are asked for and the backend cannot, LostError
/// where another process is lost. Devices get the running iteration number; the Timeline counts the
/// measured iterations from 0, as a prediction does. After a warm-up its time zero is the first measured
/// compute op.
Execution execute(const Program& program, Ranks& ranks, const ExecuteOptions& options);

}  // namespace bubblescope
