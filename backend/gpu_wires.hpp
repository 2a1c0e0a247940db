// What carries bodies of parcels from GPU to GPU, as gpu_transport.hpp uses it. NCCL does (backend/cuda/nccl_transport.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "backend/transport.hpp"

namespace bubblescope {

/// From one process to another, seen from one of its ends. What is given to it is done in that order. Of several threads
/// one at a time calls it, unless said otherwise. All throw RunError, which need not say between whom.
class GpuWire {
 public:
  virtual ~GpuWire() = default;
  /// Returns once the other end does so, too; the first call, from a thread that may wait.
  virtual void connect() = 0;
  /// Begins to send the body, once all is done that `given` stands for. The parcel stays until that is done.
  virtual void send(const Parcel& parcel, const std::shared_ptr<void>& given) = 0;
  /// Begins to receive a body, in memory that the parcel keeps; its head is empty.
  virtual Parcel receive(std::int64_t bytes) = 0;
  /// How many of the sends or receives are done. Throws where one of them has failed, or the other end has.
  virtual std::int64_t done() = 0;
  /// Ends in good order: nothing is under way, and the other end does so, too.
  virtual void disconnect() = 0;
  /// Whatever is under way ends, `connect` too: a call that waits meanwhile throws soon. Does not wait for such calls. Any thread.
  virtual void abort() noexcept = 0;
};

/// Makes the wires of this process. Any thread.
class GpuWires {
 public:
  virtual ~GpuWires() = default;
  virtual std::string name() const = 0;  ///< `NCCL`
  /// By which two ends find each other, at most 1 KiB.
  virtual std::string new_id() = 0;
  /// The sending end, at GPU `gpu` of this process.
  virtual std::unique_ptr<GpuWire> outgoing(const std::string& id, std::int32_t gpu) = 0;
  /// The receiving end.
  virtual std::unique_ptr<GpuWire> incoming(const std::string& id) = 0;
  /// What the calling thread has given GPU `gpu` so far.
  virtual std::shared_ptr<void> given(std::int32_t gpu) = 0;
  /// Calls `work`, which aborts several wires, of which none need wait for another to be aborted.
  virtual void together(const std::function<void()>& work) { work(); }
};

}  // namespace bubblescope
