// The models as lists of layers; see models.hpp.
#include "sim/workload/models.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "sim/core/error.hpp"
#include "sim/workload/layer_builder.hpp"

namespace bubblescope {

namespace {

/// Largest accepted size of a dimension, and of an image's elements: they keep every count of
/// elements and operations within 64 bits.
constexpr std::int64_t kLargest = 1 << 16;
constexpr std::int64_t kLargestImage = 1 << 26;

void require(bool condition, const std::string& message) {
  if (!condition) throw InputError(message);
}

void require_size(std::int64_t value, std::string_view what, const std::string& model) {
  require(value >= 1 && value <= kLargest,
          fmt::format("{} of model '{}' is {}; expected 1 to {}", what, model, value, kLargest));
}

/// `resnet32` -> 32, where the depth is 6n + 2 with n >= 1.
std::optional<std::int64_t> resnet_depth(std::string_view name) {
  constexpr std::string_view prefix = "resnet";
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  std::int64_t depth = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), depth);
  if (error != std::errc() || end != name.data() + name.size() || name.empty()) return std::nullopt;
  if (depth < 8 || depth > 10'000 || depth % 6 != 2) return std::nullopt;
  return depth;
}

void add_resnet(LayerGraph& graph, std::int64_t depth) {
  LayerBuilder stem("stem", graph.image);
  stem.relu(stem.batch_norm(stem.conv(0, "conv", 16, 3, 1, 1), "bn"));
  graph.layers.push_back(stem.finish());
  const std::int64_t blocks = (depth - 2) / 6;
  for (std::int64_t stage = 1; stage <= 3; ++stage) {
    const std::int64_t channels = 8 << stage;
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t stride = stage > 1 && block == 0 ? 2 : 1;
      graph.layers.push_back(
          basic_block(fmt::format("layer{}.{}", stage, block), graph.layers.back().output, channels, stride));
    }
  }
  LayerBuilder head("head", graph.layers.back().output);
  head.linear(head.flatten(head.average_pool(0, 1, 1)), "linear", graph.classes);
  graph.layers.push_back(head.finish());
}

void add_vit(LayerGraph& graph, const ModelSpec& spec, std::int64_t width, std::int64_t heads, std::int64_t depth) {
  require_size(spec.patch, "patch", spec.name);
  require_size(width, "width", spec.name);
  require_size(heads, "heads", spec.name);
  require_size(depth, "depth", spec.name);
  require(graph.image[1] % spec.patch == 0 && graph.image[2] % spec.patch == 0,
          fmt::format("an image of {} x {} cannot be cut into patches of {} x {}; expected a patch that divides both sides",
                      graph.image[1], graph.image[2], spec.patch, spec.patch));
  require(width % heads == 0, fmt::format("width {} of model '{}' is not a multiple of its {} heads", width, spec.name, heads));
  const std::int64_t patches = (graph.image[1] / spec.patch) * (graph.image[2] / spec.patch);
  require(patches < kLargest, fmt::format("patches of {} x {} make {} tokens; expected fewer than {}", spec.patch,
                                          spec.patch, patches, kLargest));
  graph.heads = heads;
  LayerBuilder embed("embed", graph.image);
  auto x = embed.conv(0, "patch", width, spec.patch, spec.patch, 0, Init::truncated_normal, true);
  embed.dropout(embed.embed(embed.tokens(x), "tokens"), spec.dropout);
  graph.layers.push_back(embed.finish());
  for (std::int64_t block = 0; block < depth; ++block) {
    graph.layers.push_back(
        transformer_block(fmt::format("block.{}", block), graph.layers.back().output, heads, spec.dropout));
  }
  graph.layers.push_back(token_head("head", graph.layers.back().output, graph.classes));
}

void add_mlp(LayerGraph& graph, const ModelSpec& spec) {
  require_size(spec.width, "width", spec.name);
  require_size(spec.depth, "depth", spec.name);
  Shape input = graph.image;
  for (std::int64_t i = 0; i < spec.depth; ++i) {
    LayerBuilder hidden(fmt::format("hidden.{}", i), input);
    const auto x = i == 0 ? hidden.flatten(0) : 0;
    hidden.dropout(hidden.relu(hidden.linear(x, "linear", spec.width)), spec.dropout);
    graph.layers.push_back(hidden.finish());
    input = graph.layers.back().output;
  }
  LayerBuilder head("head", input);
  head.linear(0, "linear", graph.classes);
  graph.layers.push_back(head.finish());
}

}  // namespace

std::vector<std::string> model_names() {
  return {"resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202",
          "vit-tiny", "vit-small", "vit-base", "vit", "mlp"};
}

LayerGraph build_model(const ModelSpec& spec) {
  require(spec.image.size() == 3,
          fmt::format("an image has {} dimensions; expected 3: channels, height, width", spec.image.size()));
  for (const std::int64_t size : spec.image) require_size(size, "a dimension of the image", spec.name);
  require(elements(spec.image) <= kLargestImage,
          fmt::format("an image of {} elements is too large; expected at most {}", elements(spec.image), kLargestImage));
  require_size(spec.classes, "the number of classes", spec.name);
  require(spec.dropout >= 0 && spec.dropout < 1,
          fmt::format("dropout of model '{}' is {}; expected at least 0 and less than 1", spec.name, spec.dropout));
  require(spec.batchnorm == "per-microbatch" || spec.batchnorm == "frozen",
          fmt::format("unknown batch norm '{}'; expected 'per-microbatch' or 'frozen'{}", spec.batchnorm,
                      suggestion(spec.batchnorm, {"per-microbatch", "frozen"})));
  LayerGraph graph;
  graph.name = spec.name;
  graph.image = spec.image;
  graph.classes = spec.classes;
  graph.dropout = spec.dropout;
  graph.frozen_batchnorm = spec.batchnorm == "frozen";
  if (const auto depth = resnet_depth(spec.name)) {
    graph.family = Family::resnet;
    add_resnet(graph, *depth);
  } else if (spec.name == "mlp") {
    graph.family = Family::mlp;
    add_mlp(graph, spec);
  } else {
    graph.family = Family::vit;
    if (spec.name == "vit-tiny") {
      add_vit(graph, spec, 192, 3, 12);
    } else if (spec.name == "vit-small") {
      add_vit(graph, spec, 384, 6, 12);
    } else if (spec.name == "vit-base") {
      add_vit(graph, spec, 768, 12, 12);
    } else if (spec.name == "vit") {
      add_vit(graph, spec, spec.width, spec.heads, spec.depth);
    } else {
      throw InputError(fmt::format("unknown model '{}'; expected one of {}{}", spec.name, fmt::join(model_names(), ", "),
                                   suggestion(spec.name, model_names())));
    }
  }
  return graph;
}

}  // namespace bubblescope
