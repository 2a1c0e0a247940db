// Batches: which samples an iteration's microbatch consists of, and their tensors. A pure function
// of seed and position, so every rank and every schedule sees the same samples.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/torch/data_set.hpp"

namespace bubblescope {

/// How training samples are grouped. Samples are drawn without replacement, in a new order every
/// epoch; the samples that do not fill a batch at an epoch's end are left out.
struct BatchPlan {
  std::uint64_t seed = 0;
  std::int64_t batch = 128;             ///< samples per batch
  std::int64_t microbatch = 128;        ///< samples per microbatch, a divisor of `batch`
  std::int64_t microbatches = 1;        ///< per iteration; they may make up several batches
  bool augment = false;
  at::ScalarType precision = at::kFloat;
  at::Device device = at::kCPU;  ///< where batches are put; the host does not wait for that
};

struct Batch {
  at::Tensor images;  ///< [samples, channels, height, width], normalised
  at::Tensor labels;  ///< [samples], int64
};

/// Draws batches from a data set. Keeps only the current epoch's order; one instance per thread.
class Batches {
 public:
  /// Throws InputError where the set has fewer samples than one batch, or the batch is no multiple
  /// of the microbatch.
  Batches(std::shared_ptr<const DataSet> set, BatchPlan plan);

  Batch batch(std::int64_t iteration, std::int64_t microbatch);
  at::Tensor labels(std::int64_t iteration, std::int64_t microbatch);
  /// The same images before normalisation (augmented where the batch is), in 0 .. 1.
  at::Tensor pictures(std::int64_t iteration, std::int64_t microbatch);
  /// Indices of the samples in the training part.
  std::vector<std::int64_t> samples(std::int64_t iteration, std::int64_t microbatch);

  std::int64_t batches_per_epoch() const { return batches_per_epoch_; }
  const BatchPlan& plan() const { return plan_; }
  const DataSet& set() const { return *set_; }

 private:
  struct Place {
    std::int64_t epoch;
    std::int64_t first;  ///< in the epoch's order
  };
  Place place(std::int64_t iteration, std::int64_t microbatch) const;
  const std::vector<std::int64_t>& order(std::int64_t epoch);
  at::Tensor images(std::int64_t iteration, std::int64_t microbatch, bool normalised);

  std::shared_ptr<const DataSet> set_;
  BatchPlan plan_;
  std::int64_t batches_per_epoch_ = 0;
  std::int64_t epoch_ = -1;
  std::vector<std::int64_t> order_;
};

/// Samples [first, last) of the test part, normalised.
Batch test_batch(const DataSet& set, std::int64_t first, std::int64_t last, at::ScalarType precision, const at::Device& device = at::kCPU);

}  // namespace bubblescope
