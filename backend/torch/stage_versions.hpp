// Versions of one stage's weights, for schedules whose backwards run after later updates.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "backend/torch/modules.hpp"
#include "sim/core/program.hpp"

namespace bubblescope {

/// Knows which version a microbatch's forward and backward use (sim/core/weight_versions.hpp has the rules) and
/// keeps copies of those that an update would overwrite. Version v is what the stage's first v updates made.
/// The parameters stay the same tensors: a version in use lends them its memory, so whatever autograd
/// saved of them reads that version, too.
class StageVersions {
 public:
  StageVersions() = default;
  /// `parameters`: all that the stage's updates change.
  StageVersions(WeightPolicy policy, const std::vector<NamedTensor>& parameters);

  /// While this lives the parameters are of one version.
  class Scope {
   public:
    Scope(std::vector<torch::Tensor>* parameters, std::vector<torch::Tensor>* copies) : parameters_(parameters), copies_(copies) { swap(); }
    ~Scope() { swap(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    void swap();
    std::vector<torch::Tensor>* parameters_;
    std::vector<torch::Tensor>* copies_;  ///< null: the newest version, nothing to swap
  };

  /// Of F, and of B later. `updates`: of the stage so far.
  Scope forward(std::int64_t iteration, Microbatch microbatch, std::int64_t updates);
  Scope backward(std::int64_t iteration, Microbatch microbatch, std::int64_t updates);
  /// The microbatch's backward has run.
  void release(std::int64_t iteration, Microbatch microbatch);
  /// Before update number `updates`, which is made in iteration `iteration`.
  void before_update(std::int64_t iteration, std::int64_t updates);

  /// Double buffering: the version before the newest, by parameter, which a run that goes on needs; empty where
  /// there is none.
  std::vector<torch::Tensor> previous(std::int64_t updates) const;
  void load(std::int64_t updates, std::vector<torch::Tensor> previous);

  std::int64_t bytes() const;

 private:
  Scope scope(std::int64_t version, std::int64_t updates);

  WeightPolicy policy_ = WeightPolicy::flush;
  std::vector<torch::Tensor> parameters_;
  std::map<std::int64_t, std::vector<torch::Tensor>> copies_;  ///< by version
  std::map<std::pair<std::int64_t, Microbatch>, std::int64_t> used_;  ///< versions of forwards
  std::optional<std::int64_t> updated_in_;  ///< iteration of the last update
};

}  // namespace bubblescope
