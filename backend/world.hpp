// The processes of a job as the rest of the backend sees them: which ranks are where, what all processes do
// together, one clock, and what happens when one of them is lost.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "backend/clock.hpp"
#include "backend/clock_fit.hpp"
#include "backend/lifeline.hpp"
#include "backend/transport.hpp"
#include "sim/core/error.hpp"
#include "sim/core/op.hpp"

namespace bubblescope {

/// Another process is gone or does not answer; its text says which, and what it did last. Nothing can be asked of the
/// world afterwards.
class LostError : public RunError {
 public:
  using RunError::RunError;
};

/// The work failed, and every process throws this at the same place: together they can go on with something else. Who
/// throws anything else is out of step with the others, unless it is an InputError that all of them find.
class CommonError : public RunError {
 public:
  using RunError::RunError;
};

/// Ranks [first, last).
struct RankRange {
  Rank first = 0;
  Rank last = 0;
  bool holds(Rank rank) const { return rank >= first && rank < last; }
  std::int32_t count() const { return last - first; }
};

/// The ranks of a process: as many on each, neighbours together. Throws InputError where that does not come out even.
RankRange ranks_of_process(std::int32_t process, std::int32_t processes, std::int32_t ranks);
/// The process that has `rank`, where it does come out even.
std::int32_t process_of_rank(Rank rank, std::int32_t processes, std::int32_t ranks);

/// All processes of a job, from within one of them. Collectives (gather, broadcast, ...) every process calls in the same
/// order, from one thread at a time, and waits there for what it is to be given: process 0 in `gather`, all but process 0 in
/// `broadcast`, all in the others. Once a process is lost they throw LostError, as they do where
/// something cannot be sent: then as `poll` does.
class World {
 public:
  /// Handles parcels of one session: what `from` sent with `World::send`.
  using Handler = std::function<void(std::int32_t from, std::string_view head, Parcel& parcel)>;

  /// Starts the thread that moves parcels on while nobody waits.
  explicit World(std::unique_ptr<Transport> transport);
  /// Waits for the others to come here, too, and closes the transport, unless a process was lost or this one ended early: then
  /// the others are lost with that reason. While the transport closes nobody is watched; it gives up by itself.
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  std::int32_t processes() const { return transport_->processes(); }
  std::int32_t process() const { return transport_->process(); }
  bool first() const { return process() == 0; }
  std::string transport_name() const { return transport_->name(); }

  /// Of every process, in order, at process 0; empty elsewhere.
  std::vector<std::string> gather(std::string mine);
  /// Process 0's, everywhere.
  std::string broadcast(std::string mine);
  /// Of every process, in order, everywhere.
  std::vector<std::string> gather_all(std::string mine);
  bool any(bool mine);
  /// The names of the processes' hosts.
  std::vector<std::string> hosts();
  void barrier();

  /// A number for parcels between parts that every process has. Every process asks for them in the same order.
  std::int64_t new_session();
  /// What comes for a session before it is opened waits for that; what comes after it was closed is dropped. The handler
  /// is called by whichever thread polls, one call at a time; it must not wait. `lost` is called once a process is lost.
  void open(std::int64_t session, Handler handler, std::function<void()> lost);
  void close(std::int64_t session);
  /// `left`: called by whoever polls once the body is not needed any more, unless the session was closed before. Throws RunError
  /// where it cannot be sent, or where the transport fails.
  void send(std::int64_t session, std::int32_t to, Parcel parcel, std::function<void()> left = {});
  void send(std::int64_t session, std::int32_t to, std::string head, std::shared_ptr<const void> body = nullptr, std::int64_t bytes = 0,
            std::function<void()> left = {}) {
    send(session, to, Parcel{std::move(head), std::move(body), bytes}, std::move(left));
  }

  /// Moves parcels on; whoever waits for one does so best by polling. Returns whether anything came or left. Where the
  /// transport or a handler fails the world is lost, and LostError thrown; with a lifeline only after some seconds, since that
  /// may know of a process which is the cause. Not to be called with a lock that a session's `lost` takes.
  bool poll();
  /// Polls until `ready`, with short sleeps after a while. Throws LostError once a process is lost.
  void wait(const std::function<bool()>& ready);
  /// So many more threads (negative: fewer) sleep until something comes. Meanwhile it is looked for often; else, the longer
  /// nothing moves, the less often, since that takes time from ranks that compute.
  void attend(int more);

  /// Compares all clocks with process 0's many times within a few milliseconds. Collective. Unless they are being watched
  /// earlier comparisons are forgotten.
  void compare_clocks();
  /// From now on process 0 compares them now and then, until it is told not to.
  void watch_clocks(bool watch) { watching_ = watch; }
  /// This process's steady clock to process 0's, as known since the last `compare_clocks`.
  Nanos to_common(Nanos own) const { return own + offset_.load(std::memory_order_relaxed); }
  Nanos to_own(Nanos common) const { return common - offset_.load(std::memory_order_relaxed); }
  /// At process 0: comparisons with `process` since the last call, which begins anew.
  std::vector<ClockSample> take_clock_samples(std::int32_t process);

  /// From now on notices when a process is killed or stopped. `name`: what this one is called then. Collective. Throws what a
  /// Lifeline's constructor throws; then this process has ended early.
  void watch(std::string name, LifelineOptions options = {});
  /// Where to ask what this process does (Lifeline::set_state_source).
  void set_state_source(Lifeline::State state);
  /// While it lives, `state` says what this process does; afterwards it is between two executions.
  class Activity {
   public:
    /// `world` may be null: nobody asks.
    Activity(World* world, Lifeline::State state);
    ~Activity();
    Activity(const Activity&) = delete;
    Activity& operator=(const Activity&) = delete;

   private:
    World* world_;
  };
  /// This process ends because of an error; the others are lost with that reason. `refused`: its input was wrong.
  void end_early(const std::string& why, bool refused = false);
  /// Once a process is lost: whether it ended early because its input was wrong.
  bool refused() const { return lifeline_ && lifeline_->refused(); }

  /// A process is lost: everything that waits ends with LostError(why). Any thread; the first reason stays.
  void lose(std::string why);
  bool lost() const { return lost_.load(std::memory_order_acquire); }
  std::string why_lost() const;
  /// Throws LostError once a process is lost.
  void check() const;

 private:
  struct Mailbox {
    std::map<std::int32_t, std::string> came;  ///< by process
  };
  struct Session {
    Handler handler;
    std::function<void()> lost;
    std::vector<std::pair<std::int32_t, Parcel>> early;
    bool open = false;
  };

  void handle(std::int32_t from, Parcel parcel);
  void handle_collective(std::int32_t from, std::int64_t number, Parcel& parcel);
  void handle_session(std::int32_t from, std::int64_t number, Parcel& parcel);
  void send_collective(std::int32_t to, std::int64_t number, const std::string& bytes);
  std::string await_from(std::int64_t number, std::int32_t from);
  void ask_clock(std::int32_t process);
  bool tell_left();
  void move_on();
  void hurry();
  Nanos pause(Nanos longest);
  void give_up(std::string why);
  [[noreturn]] void fail(std::string why);

  std::unique_ptr<Transport> transport_;
  std::mutex handling_;        ///< held while a session's handler is called; before `mutex_`
  mutable std::mutex mutex_;
  std::int64_t collectives_ = 0;             ///< begun so far
  std::map<std::int64_t, Mailbox> mail_;     ///< by their number
  std::int64_t sessions_ = 0;                ///< numbers given so far
  std::map<std::int64_t, Session> session_;  ///< open ones and those that others opened first
  std::vector<std::pair<std::int64_t, std::function<void()>>> left_;  ///< by session: to be called by who polls
  std::atomic<bool> any_left_{false};
  std::string unsent_;  ///< why something of a session could not be sent; `any_unsent_`: and nobody has ended the world for it yet
  std::atomic<bool> any_unsent_{false};
  std::vector<std::vector<ClockSample>> clocks_;  ///< process 0: by process
  std::atomic<Nanos> offset_{0};
  std::atomic<bool> watching_{false};
  std::atomic<bool> has_lifeline_{false};
  std::atomic<bool> fails_{false};  ///< nothing moves any more; soon `lost_` is set
  std::atomic<bool> lost_{false};
  std::string why_;
  std::atomic<bool> ends_{false};
  bool ended_early_ = false;
  std::unique_ptr<Lifeline> lifeline_;
  std::atomic<int> waiters_{0};
  std::mutex hurry_mutex_;  ///< nothing else is locked while it is held
  std::condition_variable hurry_;
  bool hurried_ = false;
  std::thread mover_;  ///< last: it uses the others
};

}  // namespace bubblescope
