// The CPU backend: checks a TorchConfig once and makes one TorchDevice per rank.
#include <ATen/Context.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/version.h>

#include <array>

#include "backend/torch/allocations.hpp"
#include "backend/torch/codec.hpp"
#include "backend/torch/config.hpp"
#include "backend/torch/device.hpp"
#include "backend/torch/training.hpp"
#include "sim/core/error.hpp"
#include "sim/workload/models.hpp"
#include "sim/workload/partition.hpp"

namespace bubblescope {

namespace {

class TorchBackend : public Backend {
 public:
  explicit TorchBackend(std::shared_ptr<const TorchShared> shared) : shared_(std::move(shared)) {}
  std::string name() const override { return "cpu"; }
  BackendDescription describe() const override { return {"", "", {{"LibTorch", TORCH_VERSION}}}; }
  const PayloadCodec& codec() const override { return codec_; }
  std::unique_ptr<Device> device(Rank rank, const Program& program) override {
    try {
      return std::make_unique<TorchDevice>(shared_, rank, program);
    } catch (const c10::Error& error) {  // memory
      throw RunError(fmt::format("rank {}: its stages cannot be made: {}", rank, error.what_without_backtrace()));
    }
  }

 private:
  std::shared_ptr<const TorchShared> shared_;
  TorchCodec codec_;
};

void check_data(const TorchConfig& config) {
  if (!config.data) throw InputError("a LibTorch backend needs a data set");
  const ImageSet& images = config.data->train;
  const std::vector<std::int64_t> shape{images.channels, images.height, images.width};
  if (shape != config.model.image || config.data->classes != config.model.classes) {
    throw InputError(fmt::format("data set '{}' has images of {} values of {} classes; the model expects another shape ({} classes)",
                                 config.data->name, images.image_size(), config.data->classes, config.model.classes));
  }
}

}  // namespace

std::shared_ptr<const TorchShared> torch_shared(TorchConfig config) {
  check_data(config);
  if (config.precision != "float32" && config.precision != "float64" && config.precision != "bfloat16") {
    throw InputError(fmt::format("unknown precision '{}'; expected float32, float64 or bfloat16", config.precision));
  }
  if (config.threads < 1) throw InputError("the number of threads per rank must be at least 1");
  StageOptimizer(config.optimizer, {});                      // throws where the options do not fit
  Batches(config.data, {.batch = config.batch, .microbatch = config.microbatch});  // likewise
  count_allocations();
  auto shared = std::make_shared<TorchShared>();
  shared->dtype = config.precision == "float64" ? torch::kFloat64 : torch::kFloat32;
  shared->autocast = config.precision == "bfloat16";
  shared->graph = build_model(config.model);
  shared->auxiliaries = build_auxiliaries(config.auxiliary, shared->graph, config.cuts);
  // Process-wide in LibTorch. Filling fresh memory would only cost time: nothing here reads it.
  at::globalContext().setDeterministicAlgorithms(config.deterministic, /*warn_only=*/false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  shared->config = std::move(config);
  return shared;
}

std::unique_ptr<Backend> torch_backend(TorchConfig config) { return std::make_unique<TorchBackend>(torch_shared(std::move(config))); }

std::map<std::string, std::string> describe_run(const TorchConfig& config, const Program& program) {
  const ModelSpec& model = config.model;
  const OptimizerConfig& optimizer = config.optimizer;
  std::string weights;
  for (const auto& [name, value] : config.auxiliary.weights) weights += fmt::format(" {}={}", name, value);
  return {
      {"model", fmt::format("{} image {} classes {} patch {} depth {} width {} heads {} dropout {} batchnorm {}", model.name,
                            fmt::join(model.image, "x"), model.classes, model.patch, model.depth, model.width, model.heads,
                            model.dropout, model.batchnorm)},
      {"auxiliary", fmt::format("{} blocks {}{}", config.auxiliary.name, config.auxiliary.blocks, weights)},
      {"cuts", fmt::format("{}", fmt::join(config.cuts, " "))},
      {"data", fmt::format("{} samples {} augment {}", config.data->name, config.data->train.count(), config.augment)},
      {"batch", fmt::format("{} in microbatches of {}", config.batch, config.microbatch)},
      {"optimizer", fmt::format("{} momentum {} nesterov {} weight_decay {} betas {} {} epsilon {}", optimizer.name,
                                optimizer.momentum, optimizer.nesterov, optimizer.weight_decay, optimizer.beta1,
                                optimizer.beta2, optimizer.epsilon)},
      {"learning_rate", fmt::format("{} base {} warmup {} total {}", config.rate.schedule, config.rate.base,
                                    config.rate.warmup, config.rate.schedule == "cosine" ? config.rate.total : 0)},
      {"clip_norm", fmt::format("{}", config.clip_norm)},
      {"seed", fmt::format("{}", config.seed)},
      {"precision", config.precision},
      {"schedule", fmt::format("{} with {} microbatches and {} updates per iteration", program.schedule, program.microbatches, updates_per_iteration(program))},
  };
}

}  // namespace bubblescope
