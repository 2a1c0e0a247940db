// Analytic costs by a roofline per primitive; see analytic.hpp.
#include "sim/workload/analytic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/core/error.hpp"
#include "sim/workload/layer_costs.hpp"
#include "sim/workload/partition.hpp"

namespace bubblescope {

namespace {

/// What one step of an optimizer does per parameter and per tensor, written as a chain of elementwise
/// kernels (weight decay, moments, step), each reading and writing whole tensors.
struct OptimizerWork {
  double flops;            ///< per parameter
  double elements;         ///< read and written per parameter
  std::int32_t launches;   ///< per tensor
  std::int64_t states;     ///< tensors of state per parameter
};

OptimizerWork optimizer_work(const std::string& name) {
  // g += wd p (3 accesses), m *= mu (2), m += g (3), g += mu m (3), p -= lr g (3).
  if (name == "sgd") return {9, 14, 5, 1};
  // p *= (2), m *= (2) += (3), v *= (2) += g^2 (4), sqrt (2), / (2), + (2), p -= m / d (4).
  if (name == "adamw") return {14, 23, 9, 2};
  throw InputError(fmt::format("unknown optimizer '{}'; expected sgd or adamw{}", name, suggestion(name, {"sgd", "adamw"})));
}

/// Seconds and launches of a list of primitives.
struct Sum {
  double seconds = 0;
  std::int32_t launches = 0;

  Sum operator+(const Sum& other) const { return {seconds + other.seconds, launches + other.launches}; }
  OpCost cost() const {
    OpCost cost;
    cost.duration = static_cast<Nanos>(std::min(std::floor(seconds * 1e9 + 0.5), static_cast<double>(kLongest)));
    cost.launches = launches;
    return cost;
  }
};

class Roofline {
 public:
  explicit Roofline(const AnalyticOptions& options)
      : flops_(options.device.flops * options.efficiency), elements_(options.device.memory_bandwidth * options.memory_efficiency /
                                                                     static_cast<double>(options.element_bytes)) {}

  Sum of(const std::vector<Work>& works) const {
    Sum sum;
    for (const Work& work : works) {
      sum.seconds += std::max(work.flops / flops_, work.elements / elements_);
      sum.launches += work.launches;
    }
    return sum;
  }

 private:
  double flops_;     ///< per second
  double elements_;  ///< per second
};

void check(const AnalyticOptions& options) {
  const auto positive = [](double x) { return x > 0 && std::isfinite(x); };
  if (!positive(options.device.flops) || !positive(options.device.memory_bandwidth)) {
    throw InputError(fmt::format("device '{}' lacks its peak FLOP/s or its memory bandwidth; expected both for analytic costs",
                                 options.device.name));
  }
  for (const double share : {options.efficiency, options.memory_efficiency}) {
    if (!(share >= kLeastEfficiency) || share > 1) throw InputError(fmt::format("efficiency is {}; expected {} to 1", share, kLeastEfficiency));
  }
}

std::int64_t tensor_count(std::span<const Layer> layers) {
  std::int64_t count = 0;
  for (const Layer& layer : layers) {
    for (const Primitive& primitive : layer.primitives) count += static_cast<std::int64_t>(parameter_specs(primitive).size());
  }
  return count;
}

/// Bytes of so many elements per sample; sums of a few such still fit in 64 bits.
std::int64_t batch_bytes(std::int64_t elements, std::int64_t batch, std::int64_t element_bytes) {
  constexpr double kMost = 1e15;
  if (static_cast<double>(elements) * static_cast<double>(batch) * static_cast<double>(element_bytes) > kMost) {
    throw InputError(fmt::format("a microbatch of {} samples keeps {} numbers of each in one stage; expected at most a petabyte in all", batch, elements));
  }
  return elements * batch * element_bytes;
}

/// Of what leaves these layers, the model's first ones. In mixed precision products are short, norms of layers and
/// learned embeddings are not, and a sum is as long as the longer of its parts (LibTorch's autocast on GPUs).
std::int64_t element_bytes_after(std::span<const Layer> layers, const AnalyticOptions& options) {
  const std::int64_t product = options.element_bytes, full = options.weight_element_bytes;
  std::int64_t bytes = full;
  std::vector<std::int64_t> values;
  for (const Layer& layer : layers) {
    values.assign(1, bytes);
    for (const Primitive& p : layer.primitives) {
      const std::int64_t first = values[static_cast<std::size_t>(p.inputs[0])];
      switch (p.kind) {
        case PrimitiveKind::conv:
        case PrimitiveKind::linear:
        case PrimitiveKind::attention: values.push_back(product); break;
        case PrimitiveKind::layer_norm:
        case PrimitiveKind::embed: values.push_back(full); break;
        case PrimitiveKind::add: values.push_back(std::max(first, values[static_cast<std::size_t>(p.inputs[1])])); break;
        default: values.push_back(first);
      }
    }
    bytes = values.back();
  }
  return bytes;
}

/// Auxiliary forward with loss, and backward down to the features.
struct LocalLoss {
  Sum forward, backward;
};

LocalLoss local_loss(const AuxiliaryNetwork& network, const Shape& features, std::int64_t batch, const Roofline& roofline) {
  LocalLoss total;
  for (const Branch& branch : network.branches) {
    const PassWork work = layer_work(branch.graph.layers, batch, true, branch.graph.frozen_batchnorm);
    const Shape& output = branch.graph.layers.empty() ? features : branch.graph.layers.back().output;
    const PassWork loss = loss_work(branch.loss, output, batch);
    total.forward = total.forward + roofline.of(work.forward) + roofline.of(loss.forward);
    total.backward = total.backward + roofline.of(work.input) + roofline.of(work.weight) + roofline.of(loss.input);
  }
  // Weighted sum of the branches' losses, and of their gradients of the features.
  const double extra = static_cast<double>(network.branches.size()) - 1;
  const double size = static_cast<double>(batch) * static_cast<double>(elements(features));
  if (extra > 0) {
    const auto launches = static_cast<std::int32_t>(extra);
    total.forward = total.forward + Sum{0, 3 * launches};
    total.backward = total.backward + roofline.of({{extra * size, 3 * extra * size, launches}}) + Sum{0, 2 * launches};
  }
  return total;
}

}  // namespace

Costs analytic_costs(const LayerGraph& model, std::span<const std::int32_t> cuts,
                     std::span<const AuxiliaryNetwork> auxiliaries, const AnalyticOptions& options,
                     std::span<const std::int64_t> sizes) {
  check(options);
  const std::vector<StageRange> ranges = stage_ranges(model, cuts);
  const bool local = !auxiliaries.empty();
  if (local && auxiliaries.size() != ranges.size()) {
    throw InputError(fmt::format("{} auxiliary networks for {} stages; expected one per stage", auxiliaries.size(), ranges.size()));
  }
  const Roofline roofline(options);
  const OptimizerWork optimizer = optimizer_work(options.optimizer);
  const AuxiliaryNetwork output = output_loss();

  Costs costs;
  costs.source = fmt::format("analytic ({})", options.device.name);
  for (const std::int64_t batch : sizes) {
    if (batch < 1) throw InputError(fmt::format("a microbatch of {} samples; expected at least 1", batch));
    StageCosts stages(static_cast<std::int32_t>(ranges.size()));
    for (Stage s = 0; s < stages.stages(); ++s) {
      const StageRange range = ranges[static_cast<std::size_t>(s)];
      const auto layers = layer_range(model, range.first, range.last);
      const bool last = s + 1 == stages.stages();
      const Shape& features = layers.back().output;

      const PassWork work = layer_work(layers, batch, s > 0, model.frozen_batchnorm);
      Sum forward = roofline.of(work.forward);
      Sum input = roofline.of(work.input);
      const Sum weight = roofline.of(work.weight);
      if (last && !local) {
        const LocalLoss loss = local_loss(output, features, batch, roofline);
        forward = forward + loss.forward;
        input = input + loss.backward;
      }
      stages.at(s, Kind::F) = forward.cost();
      stages.at(s, Kind::R) = forward.cost();
      stages.at(s, Kind::I) = input.cost();
      stages.at(s, Kind::W) = weight.cost();
      stages.at(s, Kind::B) = (input + weight).cost();

      const AuxiliaryNetwork* network = local ? &auxiliaries[static_cast<std::size_t>(s)] : nullptr;
      std::int64_t parameters = parameter_count(layers);
      std::int64_t tensors = tensor_count(layers);
      KeptValues kept;
      const KeptValues::Value stage_output = kept.add(layers, kept.input());

      StageBytes& bytes = stages.bytes(s);
      const std::int64_t size = options.element_bytes, weight_size = options.weight_element_bytes;
      bytes.weights = (parameters + buffer_count(layers)) * weight_size;
      bytes.gradients = parameters * weight_size;
      bytes.optimizer = parameters * optimizer.states * weight_size;
      bytes.activations = batch_bytes(kept.elements(), batch, size);
      bytes.activations_until_w = batch_bytes(kept.elements_until_w(), batch, size);
      bytes.output = last ? 0 : batch_bytes(boundary_elements(layers.back()), batch, element_bytes_after(layer_range(model, 0, range.last), options));

      if (network != nullptr) {
        const LocalLoss loss = local_loss(*network, features, batch, roofline);
        const PassWork own = layer_work(layers, batch, false, model.frozen_batchnorm);
        stages.at(s, Kind::A) = loss.forward.cost();
        stages.at(s, Kind::LB) = (loss.backward + roofline.of(own.input) + roofline.of(own.weight)).cost();
        const std::int64_t own_kept = kept.elements();
        for (const Branch& branch : network->branches) {
          const std::int64_t branch_parameters = parameter_count(branch.graph.layers);
          parameters += branch_parameters;
          tensors += tensor_count(branch.graph.layers);
          bytes.auxiliary += (branch_parameters * (2 + optimizer.states) + buffer_count(branch.graph.layers)) * weight_size;
          kept.add(branch.graph.layers, stage_output);
        }
        bytes.auxiliary_activations = batch_bytes(kept.elements() - own_kept, batch, size);
      }
      const double count = static_cast<double>(parameters);
      stages.at(s, Kind::U) =
          roofline.of({{optimizer.flops * count, optimizer.elements * count * static_cast<double>(options.weight_element_bytes) / static_cast<double>(options.element_bytes),
                        static_cast<std::int32_t>(tensors * optimizer.launches)}}).cost();
    }
    costs.by_size.emplace(batch, std::move(stages));
  }
  return costs;
}

}  // namespace bubblescope
