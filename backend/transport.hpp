// Parcels between processes, whatever carries them: MPI (backend/mpi), sockets, or threads that stand in for
// processes in tests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace bubblescope {

/// What crosses: a few bytes that say what it is, and a body, which is not copied where that can be avoided.
struct Parcel {
  std::string head;                  ///< at most `Transport::kMostHead` bytes; longer things are bodies
  std::shared_ptr<const void> body;  ///< null: none
  std::int64_t bytes = 0;            ///< of the body
  std::int32_t gpu = -1;             ///< whose memory the body is; -1: the host's. Few transports take others
};

/// The processes of a job, seen from one of them. Parcels may overtake one another. Nothing blocks.
class Transport {
 public:
  static constexpr std::int64_t kMostHead = 4096;
  using Handler = std::function<void(std::int32_t from, Parcel parcel)>;

  virtual ~Transport() = default;
  virtual std::string name() const = 0;  ///< `MPI`
  virtual std::int32_t processes() const = 0;
  virtual std::int32_t process() const = 0;

  /// Who is handed what comes. Set once, before the first `poll`.
  virtual void set_handler(Handler handler) = 0;
  /// Any thread, a handler's too; never to this process itself. `left`, where given, is called (by whoever polls, or
  /// by this call) once the body is not needed any more. Throws RunError where it cannot be sent, or the transport fails.
  virtual void send(std::int32_t to, Parcel parcel, std::function<void()> left = {}) = 0;
  /// Moves on what is under way, and hands over what has come. Any thread; of several at a time one does it.
  /// Returns whether anything came or left. Throws RunError where the transport fails, and what a handler throws: what came
  /// after that is for the next call.
  virtual bool poll() = 0;
  /// Whether sends or receives are under way, so that it is worth while to poll often.
  virtual bool busy() const = 0;
  /// Collective: waits until everybody's parcels have arrived and ends the transport. Not called once a process is lost. Throws
  /// RunError where the transport fails, or the others do not come.
  virtual void close() = 0;
  /// A process is lost: whatever is under way may end as it likes, but nothing of it may go on waiting. Others may still be in
  /// `send` or `poll`, or come there, which may throw from then on.
  virtual void abandon() {}
};

}  // namespace bubblescope
