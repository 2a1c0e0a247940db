// What a LibTorch run consists of besides its Program: model, cuts, data, training. Plain values that
// the program fills in from a scenario; this header needs no LibTorch.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "backend/torch/data_set.hpp"
#include "backend/torch/learning_rate.hpp"
#include "sim/workload/model_spec.hpp"

namespace bubblescope {

struct OptimizerConfig {
  std::string name = "sgd";  ///< sgd, adamw
  double momentum = 0.9;     ///< sgd
  bool nesterov = true;      ///< sgd
  double weight_decay = 1e-4;
  double beta1 = 0.9;        ///< adamw
  double beta2 = 0.999;      ///< adamw
  double epsilon = 1e-8;     ///< adamw
};

struct TorchConfig {
  ModelSpec model;
  AuxiliarySpec auxiliary;          ///< Programs with local losses only
  std::vector<std::int32_t> cuts;   ///< first layer of every stage but the first
  std::shared_ptr<const DataSet> data;
  bool augment = false;
  std::int64_t batch = 128;         ///< samples per batch
  std::int64_t microbatch = 128;    ///< samples per microbatch of the Program, a divisor of `batch`
  OptimizerConfig optimizer;
  LearningRate rate;
  double clip_norm = 0;             ///< 0: gradients are not clipped
  std::uint64_t seed = 0;
  std::int32_t threads = 1;         ///< intra-op threads of every rank
  std::string precision = "float32";  ///< float32, float64; bfloat16: float32 with forwards in bfloat16 where that is safe
  bool deterministic = true;
};

/// The CPU backend: every rank runs its stages with LibTorch (backend/torch/device.hpp).
/// Throws InputError where the parts of `config` do not fit each other (cuts outside the model, images
/// of another size than the model's, an unknown optimizer, a batch that cannot be split).
std::unique_ptr<Backend> torch_backend(TorchConfig config);

/// Everything that decides the numbers of a run, by name, as text: checkpoints carry it and refuse
/// to be resumed by a run that differs. Threads are left out: another number only rounds differently.
std::map<std::string, std::string> describe_run(const TorchConfig& config, const Program& program);

}  // namespace bubblescope
