// What the executor needs from a backend: one Device per rank that runs ops. Null, CPU and CUDA
// backends implement it; executor, channels and calibration know nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "sim/core/program.hpp"

namespace bubblescope {

/// What crosses a channel: opaque to the executor. A torch backend puts a detached tensor in it.
struct Payload {
  std::shared_ptr<void> data;
  std::int64_t bytes = 0;
};

/// Bytes a rank holds; -1 where it is not known.
struct MemoryUse {
  std::int64_t now = -1;
  std::int64_t peak = -1;  ///< the most while the last op ran
};

/// One rank's device. All calls come from that rank's own thread, `construct` to destruction.
/// A device keeps the output of a stage for the next stage of the same rank by itself; `input` is
/// called only for what came over a channel.
class Device {
 public:
  virtual ~Device() = default;

  /// Runs a compute op (never a compound: the executor takes those apart). Throws RunError where the
  /// work fails (a loss that is not a number).
  virtual void execute(const Op& op) = 0;

  /// Runs what a compound of `kind` consists of, all of whose inputs are there: one part after another,
  /// unless the device can do better.
  virtual void execute_compound(Kind kind, std::span<const Op> parts) {
    (void)kind;
    for (const Op& part : parts) execute(part);
  }

  /// What SEND_F or SEND_B sends. Called once per send, after the op that made it.
  virtual Payload output(const Op& send) = 0;

  /// Hands over what RECV_F or RECV_B received. Called before the op that uses it.
  virtual void input(const Op& recv, Payload payload) = 0;

  /// A meeting of ranks: what this one contributes to a SYNC (the squared norm of its gradients, where they
  /// are clipped by global norm) or to an ALLREDUCE of its copy of a stage (the gradients), and what all
  /// members did, this rank's own among it, in rank order. Other ranks read it at the same time: nobody
  /// may change what was contributed, results go elsewhere.
  virtual Payload contribution(const Op& collective) { (void)collective; return {}; }
  virtual void reduced(const Op& collective, std::span<const Payload> contributions) { (void)collective; (void)contributions; }

  /// A payload such as `recv` would receive, for calibration: right shape, plausible values.
  virtual Payload example(const Op& recv) = 0;

  /// A message of that many bytes as this rank would send it, for calibration.
  virtual Payload message(std::int64_t bytes) { return {nullptr, bytes}; }

  /// What this rank holds. Asked after every recorded compute op, unless it was not known after the
  /// first.
  virtual MemoryUse memory() const { return {}; }

  /// A copy of all that training changes (weights, optimizer state, running statistics), to go back to
  /// with `restore`; null where there is nothing. Called between iterations. Another device of the same
  /// backend, program and rank can restore it, too.
  virtual std::shared_ptr<const void> snapshot() const { return nullptr; }
  virtual void restore(const std::shared_ptr<const void>& snapshot) { (void)snapshot; }

  /// After a run, of whose work the device has said nothing yet: throws RunError where some of it failed.
  virtual void settle() {}

  /// Loss of the newest microbatch whose loss this rank computed, or NaN.
  virtual double last_loss() const;
};

/// What a backend computes with, for reports and profiles.
struct BackendDescription {
  std::string device;  ///< `NVIDIA H200`; empty: the processor
  std::string placement{};  ///< what ranks have of it
  std::map<std::string, std::string> versions;  ///< software -> version
};

class PayloadCodec;
class StreamSource;

/// Makes devices. `device` is called on the rank's own thread, after it was pinned, for one rank after
/// the other.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;
  virtual std::unique_ptr<Device> device(Rank rank, const Program& program) = 0;
  /// Once there is a device.
  virtual BackendDescription describe() const { return {}; }
  /// Where the devices issue work that is done later (backend/streams.hpp); null: calls return when it is done.
  virtual StreamSource* stream_source() { return nullptr; }
  /// How the devices' payloads cross to other processes (backend/payload_codec.hpp); lives as long as the backend.
  virtual const PayloadCodec& codec() const;
};

}  // namespace bubblescope
