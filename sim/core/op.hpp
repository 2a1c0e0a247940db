// Ops: what a rank does. The vocabulary shared by schedules, simulator, executor and analysis.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sim/core/time.hpp"

namespace bubblescope {

using Rank = std::int32_t;
using Stage = std::int32_t;
using Microbatch = std::int32_t;

/// What an op does. The order is fixed: it breaks ties and indexes cost tables.
enum class Kind : std::uint8_t {
  // compute
  F,            ///< forward
  B,            ///< full backward (I and W in one)
  I,            ///< gradient of the stage's input
  W,            ///< gradient of the stage's weights
  R,            ///< recompute the forward (activation checkpointing)
  A,            ///< auxiliary network forward and local loss
  LB,           ///< local backward: own block and auxiliary network; no input gradient leaves
  U,            ///< optimizer update
  OVERLAP_F_B,  ///< compound: a forward and a backward issued as one op
  // data
  LOAD,         ///< input pipeline step
  SEND_F,       ///< send an activation to the next stage
  RECV_F,       ///< receive this stage's input activation
  SEND_B,       ///< send an input gradient to the previous stage
  RECV_B,       ///< receive the gradient of this stage's output
  BATCH_P2P,    ///< compound: several sends and receives issued as one op
  ALLREDUCE,    ///< add up the gradients of a stage's copies, the stages at its position of all chains
  UNSHARD,      ///< gather the stage's parameters
  RESHARD,      ///< free the gathered parameters
  REDUCE_GRAD,  ///< reduce-scatter the stage's gradients
  D2H,          ///< offload to host memory
  H2D,          ///< fetch from host memory
  SYNC,         ///< barrier of all ranks
};
inline constexpr int kKinds = static_cast<int>(Kind::SYNC) + 1;

/// The identity of one op and nothing else. Operands that only some ops have (parts of a compound)
/// lie in the Program's operand tables, found through `operand`.
struct Op {
  Microbatch microbatch = -1;  ///< -1 for ops without one (UNSHARD, an update at a flush)
  std::int32_t iteration = 0;
  std::int32_t operand = -1;  ///< index into Program::compounds, or -1
  std::int16_t stage = -1;    ///< global stage number; -1 for compounds
  std::uint16_t replica = 0;  ///< data-parallel copy
  std::uint16_t slice = 0;    ///< token slice; of an interlocking backward, its loss (interlocking.hpp)
  std::uint8_t chain = 0;     ///< pipeline direction
  Kind kind = Kind::F;

  friend bool operator==(const Op&, const Op&) = default;
};
static_assert(sizeof(Op) == 20);

constexpr bool is_compute(Kind k) { return k <= Kind::OVERLAP_F_B; }
constexpr bool is_send(Kind k) { return k == Kind::SEND_F || k == Kind::SEND_B; }
constexpr bool is_recv(Kind k) { return k == Kind::RECV_F || k == Kind::RECV_B; }
constexpr bool is_p2p(Kind k) { return k >= Kind::SEND_F && k <= Kind::BATCH_P2P; }
constexpr bool is_compound(Kind k) { return k == Kind::OVERLAP_F_B || k == Kind::BATCH_P2P; }
/// Whether a send or receive is on the side of its stage that faces the next one of the chain: activations
/// leave there, and gradients arrive.
constexpr bool faces_next(Kind k) { return k == Kind::SEND_F || k == Kind::RECV_B; }
/// Whether a send or receive moves an activation; else a gradient.
constexpr bool carries_activation(Kind k) { return k == Kind::SEND_F || k == Kind::RECV_F; }
/// A backward that ends the microbatch's use of its stage's activations' input side.
constexpr bool is_backward(Kind k) { return k == Kind::B || k == Kind::I || k == Kind::LB; }
/// Whether the op belongs to a group that starts together: the k-th SYNC of every rank, or the k-th ALLREDUCE
/// of a stage's copies.
constexpr bool is_collective(Kind k) { return k == Kind::SYNC || k == Kind::ALLREDUCE; }

/// `F`, `LB`, `SEND_F`, ...: PyTorch's words where it has them; none of ours begins with F, I, B, W.
std::string_view mnemonic(Kind kind);
/// The kind with that exact mnemonic.
std::optional<Kind> kind_from_mnemonic(std::string_view text);

/// The cell of a simple op: `2SEND_F3`, `0U` (no microbatch). Compounds: see `cell(Program, Op)`.
std::string cell(const Op& op);

/// Reads a simple cell (`2SEND_F3`). Unlike PyTorch's parser nothing may follow it.
/// Returns nothing where the text is not a cell.
std::optional<Op> parse_cell(std::string_view text);

}  // namespace bubblescope
