// Interlocking backpropagation, N-wise: every stage has a loss of its own, and a loss goes back through its stage
// and the N-1 before it. So a microbatch has up to N backwards at a stage, one per loss. Gomez et al.,
// arXiv 2010.04116. In a Program of that profile `slice` of a B (and of the transfer of its gradient) is the
// loss's stage modulo N; everything else has slice 0.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sim/core/program.hpp"

namespace bubblescope {

class Interlocking {
 public:
  /// Counts the losses N: the slices of `program`'s backwards. Of one chain, stages numbered along it.
  explicit Interlocking(const Program& program);

  std::int32_t losses() const { return losses_; }
  /// Backwards of a microbatch at `stage`, at the last stages fewer than N.
  std::int32_t backwards(Stage stage) const { return std::min(losses_, stages_ - stage); }
  /// How many stages behind the backward's own stage its loss is.
  std::int32_t distance(const Op& backward) const { return ((backward.slice - backward.stage) % losses_ + losses_) % losses_; }
  /// The slice of the loss that many stages behind `stage`.
  std::uint16_t slice(Stage stage, std::int32_t distance) const { return static_cast<std::uint16_t>((stage + distance) % losses_); }
  /// Whether the loss is the stage's own: no gradient comes from the next stage.
  bool own(const Op& backward) const { return distance(backward) == 0; }
  /// Whether it is the microbatch's last at its stage.
  bool last(const Op& backward) const { return distance(backward) + 1 == backwards(backward.stage); }
  /// Whether its gradient goes on to the stage before.
  bool goes_on(const Op& backward) const { return backward.stage > 0 && distance(backward) + 1 < losses_; }

 private:
  std::int32_t losses_ = 1;
  Stage stages_ = 1;
};

/// The op as ops are found whose slice says nothing of a loss: F, A, U.
inline Op without_loss(Op op) {
  op.slice = 0;
  return op;
}

}  // namespace bubblescope
