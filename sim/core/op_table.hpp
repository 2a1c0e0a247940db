// Finds ops of a Program by identity: dense tables per kind, for everything that follows edges.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/core/program.hpp"

namespace bubblescope {

/// Position of an op in the flat numbering: rank by rank, in row order.
using OpIndex = std::int32_t;

/// Row offsets in the flat numbering: rank r's ops are [offsets[r], offsets[r + 1]).
std::vector<OpIndex> row_offsets(const Program& program);

/// Where in the rows a flat index is.
struct OpAt {
  Rank rank;
  std::int32_t position;
};
OpAt locate(const std::vector<OpIndex>& offsets, OpIndex op);

/// Dense numbers for the identities (iteration, replica, slice, stage, microbatch) of a Program's ops.
class IdentitySpace {
 public:
  /// Throws InputError where iteration or stage of an op with a microbatch are out of range, or the numbers so
  /// sparse that tables over them would be far larger than the Program.
  explicit IdentitySpace(const Program& program);

  std::size_t size() const { return size_; }
  /// Of the identity that `op` has, at `stage`.
  std::size_t of(Stage stage, const Op& op) const {
    return (((static_cast<std::size_t>(op.iteration) * replicas_ + op.replica) * slices_ + op.slice) * stages_ +
            static_cast<std::size_t>(stage)) * microbatches_ + static_cast<std::size_t>(op.microbatch);
  }

 private:
  std::size_t replicas_ = 1, slices_ = 1, stages_ = 1, microbatches_ = 1, size_ = 0;
};

/// Identity -> flat index. Parts of a compound are found under the compound's index. Ops without a
/// microbatch are not in the table. Where an identity occurs twice, the first counts.
class OpTable {
 public:
  /// Throws InputError where the Program has no IdentitySpace.
  explicit OpTable(const Program& program);

  /// The op of `kind` at stage `stage` for the microbatch, iteration, slice and replica of `like`;
  /// -1 where there is none or `stage` is -1.
  OpIndex find(Kind kind, Stage stage, const Op& like) const {
    const auto& table = tables_[static_cast<std::size_t>(kind)];
    if (table.empty() || stage < 0 || like.microbatch < 0) return -1;
    return table[space_.of(stage, like)];
  }

 private:
  IdentitySpace space_;
  std::array<std::vector<OpIndex>, kKinds> tables_;
};

}  // namespace bubblescope
