// Costs: how long each op takes and how many bytes it moves and holds, whatever the source.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/core/op.hpp"
#include "sim/core/program.hpp"

namespace bubblescope {

/// What one op of a (stage, kind) costs.
struct OpCost {
  Nanos duration = 0;          ///< with the machine otherwise idle
  double busy_factor = 1.0;    ///< duration with every other core of the machine busy / alone
  Nanos spread = 0;            ///< half the interquartile range of the measurement; 0 if not measured
  std::int32_t launches = 0;   ///< kernels the host launches for it
  Nanos host = 0;              ///< time the host needs to issue it, besides those launches

  friend bool operator==(const OpCost&, const OpCost&) = default;
};

/// Bytes a stage holds. Activations are per microbatch.
struct StageBytes {
  std::int64_t weights = 0;
  std::int64_t gradients = 0;
  std::int64_t optimizer = 0;
  std::int64_t activations = 0;          ///< held from the start of F, all kinds together
  /// Held from the end of I, which frees `activations`, to the end of W: inputs and output gradients of
  /// the layers whose weight gradients wait. May exceed `activations`.
  std::int64_t activations_until_w = 0;
  std::int64_t auxiliary = 0;            ///< auxiliary network: weights, gradients, optimizer state
  std::int64_t auxiliary_activations = 0;  ///< held from the start of A to the end of LB
  std::int64_t output = 0;               ///< the boundary activation sent to the next stage

  friend bool operator==(const StageBytes&, const StageBytes&) = default;
};

/// Durations and bytes of all stages for one microbatch size. Lookups never fail: what is not set
/// costs nothing.
class StageCosts {
 public:
  StageCosts() = default;
  explicit StageCosts(std::int32_t stages) : table_(static_cast<std::size_t>(stages) * kKinds), overlap_(stages), bytes_(stages) {}

  std::int32_t stages() const { return static_cast<std::int32_t>(bytes_.size()); }
  /// Of a simple op.
  OpCost& at(Stage stage, Kind kind) { return table_[index(stage, kind)]; }
  const OpCost& at(Stage stage, Kind kind) const { return table_[index(stage, kind)]; }
  /// An OVERLAP_F_B whose first part is of that stage. Nothing: it costs the sum of its parts.
  std::optional<OpCost>& overlap(Stage stage) { return overlap_[stage]; }
  const std::optional<OpCost>& overlap(Stage stage) const { return overlap_[stage]; }
  StageBytes& bytes(Stage stage) { return bytes_[stage]; }
  const StageBytes& bytes(Stage stage) const { return bytes_[stage]; }

  /// Makes `stage` cost and hold what `from` of `other` does.
  void set_stage(Stage stage, const StageCosts& other, Stage from);

  /// Whether any byte count is known (peak memory is reported only then).
  bool has_bytes() const;
  /// Whether issuing any op takes its host time besides launches.
  bool has_host() const;

  /// What an op of `program` costs.
  OpCost of(const Program& program, const Op& op) const;
  /// What a compound of these parts costs.
  OpCost of_compound(std::span<const Op> parts) const;

  friend bool operator==(const StageCosts&, const StageCosts&) = default;

 private:
  std::size_t index(Stage stage, Kind kind) const {
    return static_cast<std::size_t>(stage) * kKinds + static_cast<std::size_t>(kind);
  }
  std::vector<OpCost> table_;
  std::vector<std::optional<OpCost>> overlap_;
  std::vector<StageBytes> bytes_;
};

/// Costs for any microbatch size: one StageCosts per size that was measured, published or computed.
/// A size between two known ones is interpolated linearly, durations and bytes alike; beyond them
/// the nearest two extrapolate, never below zero. One size alone says nothing of others.
struct Costs {
  std::string source;  ///< `uniform`, `analytic`, `profile FILE`, ...: said in reports
  std::map<std::int64_t, StageCosts> by_size;  ///< samples per microbatch -> costs

  /// Throws InputError where nothing is known, where another size alone is, and where the two sizes to go
  /// by are known for different numbers of stages.
  StageCosts at(std::int64_t samples) const;
};

}  // namespace bubblescope
