// Captures of graphs and everything else that ranks give a GPU, kept apart.
#pragma once

#include <mutex>
#include <optional>
#include <shared_mutex>

namespace bubblescope {

/// LibTorch's allocator gives memory that another stream still reads out again if that stream's use was noted while some
/// thread captured. So while one captures, nobody else submits. Submitting never waits for another rank, so neither
/// does this for long.
class Submitting {
 public:
  Submitting();
  ~Submitting();
  Submitting(const Submitting&) = delete;
  Submitting& operator=(const Submitting&) = delete;

 private:
  friend class Capturing;
  void enter();
  std::optional<std::shared_lock<std::shared_mutex>> lock_;
  Submitting* outer_;
};

/// The calling thread, which may be submitting, is the only one that does.
class Capturing {
 public:
  Capturing();
  ~Capturing();
  Capturing(const Capturing&) = delete;
  Capturing& operator=(const Capturing&) = delete;

 private:
  std::unique_lock<std::shared_mutex> lock_;
};

}  // namespace bubblescope
