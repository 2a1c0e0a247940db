// What model and which auxiliary network: plain values that a scenario fills in and the layer graph
// is built from.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace bubblescope {

/// A model by name and shape. Fields that a model does not have are ignored.
struct ModelSpec {
  std::string name = "resnet32";
  std::vector<std::int64_t> image = {3, 32, 32};  ///< channels, height, width
  std::int64_t classes = 10;
  std::int64_t patch = 4;    ///< vit*: side of a square patch; divides height and width
  std::int64_t depth = 12;   ///< vit: blocks; mlp: hidden layers
  std::int64_t width = 192;  ///< vit: embedding; mlp: hidden units
  std::int64_t heads = 3;    ///< vit: divides the width
  double dropout = 0;        ///< vit: after positions, attention projection and MLP; mlp: after ReLU
  std::string batchnorm = "per-microbatch";  ///< or "frozen": running statistics, never updated
};

/// An auxiliary network by name.
struct AuxiliarySpec {
  std::string name = "greedy";
  std::int64_t blocks = 0;  ///< vit, mlp: extra blocks before the head; auglocal: depth d (0: 1)
  /// Named loss weights. infopro*: `reconstruction_first`, `reconstruction_last`, `task_first`,
  /// `task_last` (interpolated over the local modules). predsim: `similarity`, `prediction`.
  /// auglocal: `pyramid`, the tau of the pyramidal depth rule.
  std::map<std::string, double> weights;
};

}  // namespace bubblescope
