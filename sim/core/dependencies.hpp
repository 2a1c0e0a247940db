// Derived dependencies: which op waits for which. Nothing writes them down: the profile says it all,
// and the simulator, the executor and validation use this one derivation.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/core/op_table.hpp"
#include "sim/core/program.hpp"

namespace bubblescope {

/// Why an op waits.
enum class Edge : std::uint8_t {
  activation,  ///< needs the previous stage's output
  gradient,    ///< needs the next stage's input gradient
  own,         ///< an earlier op of the same stage (F before B, I before W, a collective before U, ...)
  message,     ///< a receive needs its send
};

struct Dependency {
  OpIndex source = -1;
  Edge edge = Edge::own;
};

/// Dependencies of every op, besides the order of its own stream.
class Dependencies {
 public:
  std::span<const Dependency> of(OpIndex op) const {
    return {edges_.data() + first_[static_cast<std::size_t>(op)], edges_.data() + first_[static_cast<std::size_t>(op) + 1]};
  }
  std::size_t edge_count() const { return edges_.size(); }

 private:
  friend Dependencies derive_dependencies(const Program&, const OpTable&);
  std::vector<std::uint32_t> first_{0};
  std::vector<Dependency> edges_;
};

/// The edges of `program` under its profile:
///   F(s,m)   <- RECV_F(s,m), or where there is none F(s-1,m) (profile local_serial: the last op of
///               stage s-1 on m)
///               where s replays: of the microbatch that `Program::sources` says
///   I,B(s,m) <- R(s,m), else F(s,m), and RECV_B(s,m), or where there is none I or B of (s+1,m)
///   W(s,m)   <- I(s,m);  R(s,m) <- F(s,m);  A(s,m) <- R(s,m), else F(s,m);  LB(s,m) <- A(s,m), else R, else F
///   profile interlocking: B of the stage's own loss <- A(s,m), else F(s,m); of another's <- RECV_B(s,m) or B
///               (s+1,m) of that loss
///   SEND_F(s,m) <- F(s,m) (local_serial: the last op of s on m);  SEND_B(s,m) <- I or B of (s,m)
///   RECV_F(s,m), RECV_B(s,m) <- the matching SEND
///   ALLREDUCE, REDUCE_GRAD(s) <- the compute op of s before it in its row;  U(s) <- the last of those
///   SYNC <- the last ALLREDUCE or REDUCE_GRAD before it in its row
///   F, B, ... (s) <- the last UNSHARD(s) before it;  RESHARD(s) <- the compute op of s before it
/// A compound has the edges of all its parts, less those inside itself. What a dependency needs but
/// no row holds is left out here; validation (V1) reports it.
Dependencies derive_dependencies(const Program& program, const OpTable& table);
Dependencies derive_dependencies(const Program& program);

}  // namespace bubblescope
