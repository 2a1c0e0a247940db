// Stage modules: layers of the graph with their weights; see modules.hpp.
#include "backend/torch/modules.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <utility>

#include "backend/torch/autocast.hpp"
#include "backend/torch/random.hpp"

namespace bubblescope {

namespace {

/// Keeps what is drawn for weights and for dropout apart.
enum class Purpose : std::uint64_t { weights = 1, dropout = 2 };

at::Generator generator(std::initializer_list<std::uint64_t> key) {
  return at::make_generator<at::CPUGeneratorImpl>(mix_key(key));
}

bool has_dropout(const Layer& layer) {
  for (const Primitive& primitive : layer.primitives) {
    if (primitive.kind == PrimitiveKind::dropout) return true;
  }
  return false;
}

}  // namespace

StageModule::StageModule(const LayerGraph& graph, std::int32_t first, std::int32_t last, const ModuleOptions& options)
    : StageModule(layer_range(graph, first, last), first, graph.frozen_batchnorm, options, 0, "") {}

StageModule::StageModule(std::span<const Layer> layers, std::int32_t first, bool frozen_batchnorm,
                         const ModuleOptions& options, std::uint64_t stream, const std::string& prefix)
    : layers_(layers.begin(), layers.end()), stream_(stream), first_(first), frozen_batchnorm_(frozen_batchnorm) {
  if (options.autocast) autocast_ = options.device.type();
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    auto random = generator({options.seed, static_cast<std::uint64_t>(Purpose::weights), stream_,
                             static_cast<std::uint64_t>(first_) + i});
    std::vector<PrimitiveTensors>& by_primitive = tensors_.emplace_back();
    for (const Primitive& primitive : layers_[i].primitives) {
      PrimitiveTensors& tensors = by_primitive.emplace_back(initial_tensors(primitive, random));
      const std::string path = prefix + layers_[i].name + "." + primitive.name + ".";
      const auto place = [&](std::vector<torch::Tensor>& list, const std::vector<TensorSpec>& specs, bool trained,
                             std::vector<NamedTensor>& named) {
        for (std::size_t k = 0; k < list.size(); ++k) {
          list[k] = list[k].to(options.device, options.dtype).requires_grad_(trained);
          named.push_back({path + specs[k].name, list[k]});
        }
      };
      place(tensors.parameters, parameter_specs(primitive), true, parameters_);
      place(tensors.buffers, buffer_specs(primitive), false, buffers_);
    }
  }
}

torch::Tensor StageModule::forward(const torch::Tensor& input, const ForwardContext& context) {
  const PassMode mode{context.training && !frozen_batchnorm_, context.update_statistics, context.training, context.deferred};
  std::optional<AutocastScope> cast;
  if (autocast_) cast.emplace(*autocast_);
  torch::Tensor x = input;
  std::vector<torch::Tensor> values;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    at::Generator masks;
    if (mode.dropout && has_dropout(layer)) {
      masks = generator({context.seed, static_cast<std::uint64_t>(Purpose::dropout), stream_,
                         static_cast<std::uint64_t>(first_) + i, static_cast<std::uint64_t>(context.iteration),
                         static_cast<std::uint64_t>(context.microbatch)});
    }
    values.assign(1, std::move(x));
    for (std::size_t k = 0; k < layer.primitives.size(); ++k) {
      const Primitive& p = layer.primitives[k];
      const auto& first = values[static_cast<std::size_t>(p.inputs[0])];
      const auto second = p.inputs[1] < 0 ? torch::Tensor() : values[static_cast<std::size_t>(p.inputs[1])];
      values.push_back(run_primitive(p, tensors_[i][k], first, second, mode, masks));
    }
    x = std::move(values.back());
  }
  return x;
}

}  // namespace bubblescope
