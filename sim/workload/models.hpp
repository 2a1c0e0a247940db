// The models: ModelSpec -> LayerGraph.
#pragma once

#include <string>
#include <vector>

#include "sim/workload/layer_graph.hpp"
#include "sim/workload/model_spec.hpp"

namespace bubblescope {

/// Names `build_model` knows: resnet20, 32, 44, 56, 110, 1202 (any 6n+2 is accepted), vit-tiny,
/// vit-small, vit-base, vit, mlp.
std::vector<std::string> model_names();

/// The model as a list of layers; the last layer gives the logits.
///   resnetD: CIFAR ResNet (He et al. 2015) of depth 6n+2 with widths 16, 32, 64 and a 1x1
///     convolution with batch norm where the width changes: stem, 3n blocks `layerS.B`, head.
///   vit*: class token, learned positions, pre-norm blocks with an MLP of four times the width:
///     embed, blocks `block.B`, head (norm, class token, linear). tiny, small and base fix width and
///     heads (192/3, 384/6, 768/12) and have 12 blocks.
///   mlp: `depth` hidden layers of `width` with ReLU on the flattened image, then the head.
/// Throws InputError for an unknown name (with the nearest known one) and impossible values.
LayerGraph build_model(const ModelSpec& spec);

}  // namespace bubblescope
