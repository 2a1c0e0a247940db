// Derived dependencies: which op waits for which. Nothing writes them down: the profile says it all,
// and the simulator, the executor and validation use this one derivation.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/core/program.hpp"

namespace bubblescope {

/// Position of an op in the flat numbering: rank by rank, in row order.
using OpIndex = std::int32_t;

/// Why an op waits.
enum class Edge : std::uint8_t {
  activation,  ///< needs the previous stage's output
  gradient,    ///< needs the next stage's input gradient
  own,         ///< an earlier op of the same stage and microbatch (F before B, I before W, ...)
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
    return {edges_.data() + first_[op], edges_.data() + first_[op + 1]};
  }
  std::size_t op_count() const { return first_.size() - 1; }
  std::size_t edge_count() const { return edges_.size(); }

 private:
  friend Dependencies derive_dependencies(const Program&);
  std::vector<std::uint32_t> first_{0};
  std::vector<Dependency> edges_;
};

/// The edges of `program` under its profile:
///   F(s,m)  <- RECV_F(s,m), or where the row has none F(s-1,m) (profile local_serial: the last op
///              of stage s-1 on m)
///   I,B(s,m) <- F(s,m), and RECV_B(s,m), or where there is none I or B of (s+1,m)
///   W(s,m)  <- I(s,m);  R(s,m) <- F(s,m)'s input;  A(s,m) <- F(s,m);  LB(s,m) <- A(s,m), else F(s,m)
///   SEND_F(s,m) <- F(s,m) (local_serial: the last op of s on m);  SEND_B(s,m) <- I or B of (s,m)
///   RECV(s,m) <- the matching SEND
///   U(s,m) <- all backwards of s that precede it (they are on its rank, so by row order)
/// A compound has the edges of all its parts. An op that a dependency needs but no row holds is left
/// out here; validation (V1) reports it.
Dependencies derive_dependencies(const Program& program);

/// Row offsets in the flat numbering: rank r's ops are [offsets[r], offsets[r + 1]).
std::vector<OpIndex> row_offsets(const Program& program);

/// The op at a flat index, and its rank.
struct OpAt {
  Rank rank;
  std::int32_t position;
};
OpAt locate(std::span<const OpIndex> offsets, OpIndex op);

}  // namespace bubblescope
