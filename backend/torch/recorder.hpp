// Work that is recorded once and then launched as a whole, so that the host gives the device one order instead of
// hundreds: CUDA graphs. Devices record their ops through this interface and know nothing of CUDA.
#pragma once

#include <functional>
#include <memory>

namespace bubblescope {

class Recording {
 public:
  virtual ~Recording() = default;
  /// Has the work done once more, on the current stream.
  virtual void launch() = 0;
};

class Recorder {
 public:
  virtual ~Recorder() = default;
  /// Notes what `work` gives the device, which does not do it now: `launch` has it done, again and again, from the
  /// same memory into the same memory. What `work` decides on the host it decides once. Tensors that it reads or
  /// leaves behind must stay alive, and are worth nothing before the first launch. Memory that it frees serves the
  /// recordings that this recorder makes after it: they must be launched in the order in which they were made, again and
  /// again, on one stream. What is launched in any order needs recorders of its own.
  virtual std::unique_ptr<Recording> record(std::function<void()> work) = 0;
};

/// Makes one more; null: nothing is recorded.
using MakeRecorder = std::function<std::unique_ptr<Recorder>()>;

}  // namespace bubblescope
