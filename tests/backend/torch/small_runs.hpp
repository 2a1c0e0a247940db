// Small training runs for the tests of the LibTorch backend: configurations, Programs, devices.
#pragma once

#include <torch/torch.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/executor.hpp"
#include "backend/host_streams.hpp"
#include "backend/torch/config.hpp"
#include "backend/torch/device.hpp"
#include "sim/lower/copy_reduction.hpp"
#include "sim/lower/send_recv.hpp"
#include "sim/schedules/registry.hpp"
#include "sim/workload/models.hpp"
#include "sim/workload/partition.hpp"

namespace bubblescope::testing_runs {

using Options = std::map<std::string, std::string>;

/// ResNet-32 on images of 16 x 16, cut into `stages` by FLOPs.
inline TorchConfig resnet(std::int32_t stages) {
  TorchConfig config;
  config.model.name = "resnet32";
  config.model.image = {3, 16, 16};
  config.auxiliary.name = "dgl";
  config.cuts = partition(build_model(config.model), stages, "flops");
  config.data = std::make_shared<DataSet>(generate_data_set({.samples = 64, .test_samples = 40, .image = {3, 16, 16}}));
  config.augment = true;
  config.batch = config.microbatch = 4;
  config.rate.base = 0.05;
  return config;
}

/// A ViT of four small blocks, with dropout.
inline TorchConfig vit(std::int32_t stages) {
  TorchConfig config = resnet(1);
  config.model.name = "vit";
  config.model.patch = 4;
  config.model.depth = 4;
  config.model.width = 24;
  config.model.heads = 3;
  config.model.dropout = 0.1;
  config.auxiliary.name = "greedy";
  config.optimizer.name = "adamw";
  config.rate.base = 1e-3;
  config.cuts = partition(build_model(config.model), stages, "layers");
  return config;
}

inline Program program(const std::string& schedule, std::int32_t ranks, std::int32_t microbatches, Options options = {}) {
  ScheduleShape shape;
  shape.ranks = ranks;
  shape.microbatches = microbatches;
  shape.options = std::move(options);
  return add_send_recv(add_copy_reduction(generate(find_schedule(schedule), shape)));
}

/// A backend, its ranks, and what they computed.
class SmallRun {
 public:
  SmallRun(const TorchConfig& config, Program what)
      : backend_(torch_backend(config)), program_(std::move(what)), ranks_(*backend_, program_, {}) {}
  SmallRun(std::unique_ptr<Backend> backend, Program what) : backend_(std::move(backend)), program_(std::move(what)), ranks_(*backend_, program_, {}) {}
  /// On threads for streams, which are late at random.
  SmallRun(const TorchConfig& config, Program what, HostStreamOptions streams)
      : backend_(torch_backend(config)), streams_(on_streams(*backend_, config, std::move(streams))), program_(std::move(what)), ranks_(*streams_, program_, {}) {}

  SmallRun& iterations(std::int32_t count) {
    ExecuteOptions options;
    options.iterations = count;
    options.first_iteration = done_;
    options.record = false;
    execute(program_, ranks_, options);
    done_ += count;
    return *this;
  }

  /// The next iteration is the one after `done`.
  SmallRun& rewind(std::int32_t done) {
    done_ = done;
    return *this;
  }

  /// All tensors of all ranks, by name.
  std::map<std::string, torch::Tensor> state() {
    return gather<std::map<std::string, torch::Tensor>>([](TorchDevice& device, auto& all) { all.merge(device.state()); });
  }
  /// Gradients of the model's parameters, by name; none right after an update.
  std::map<std::string, torch::Tensor> gradients() {
    return gather<std::map<std::string, torch::Tensor>>([](TorchDevice& device, auto& all) {
      for (const auto& stage : device.stages()) {
        for (const NamedTensor& parameter : stage.module->parameters()) {
          if (parameter.tensor.grad().defined()) all[parameter.name] = parameter.tensor.grad();
        }
      }
    });
  }
  /// Parameters and buffers of the copy of the model that a chain is, by name.
  std::map<std::string, torch::Tensor> copy(std::uint8_t chain) {
    return gather<std::map<std::string, torch::Tensor>>([chain](TorchDevice& device, auto& all) {
      for (const auto& stage : device.stages()) {
        if (stage.chain != chain) continue;
        for (const NamedTensor& parameter : stage.module->parameters()) all[parameter.name] = parameter.tensor.detach();
        for (const NamedTensor& buffer : stage.module->buffers()) all[buffer.name] = buffer.tensor;
      }
    });
  }
  /// (stage, iteration, microbatch) -> loss
  std::map<std::tuple<Stage, std::int64_t, Microbatch>, double> losses() {
    return gather<std::map<std::tuple<Stage, std::int64_t, Microbatch>, double>>([](TorchDevice& device, auto& all) {
      for (const LossRecord& record : device.take_losses()) all[{record.stage, record.iteration, record.microbatch}] = record.loss;
    });
  }

  Ranks& ranks() { return ranks_; }
  const Program& what() const { return program_; }

 private:
  static std::unique_ptr<Backend> on_streams(Backend& backend, const TorchConfig& config, HostStreamOptions options) {
    options.enter = [config](Rank) { TorchDevice::enter_thread(config); };
    return std::make_unique<HostStreamBackend>(backend, std::move(options));
  }

  template <typename Result, typename Add>
  Result gather(Add add) {
    Result all;
    std::mutex mutex;
    ranks_.each([&](Rank, Device& device) {
      const std::lock_guard lock(mutex);
      add(dynamic_cast<TorchDevice&>(device), all);
    });
    return all;
  }

  std::unique_ptr<Backend> backend_, streams_;
  Program program_;
  Ranks ranks_;
  std::int32_t done_ = 0;
};

inline bool same_bits(const torch::Tensor& a, const torch::Tensor& b) {
  const auto bits = [](const torch::Tensor& tensor) { return tensor.detach().contiguous().flatten().view(torch::kUInt8); };
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && bits(a).equal(bits(b));
}

/// The names of tensors that differ in any bit, or exist on one side only.
inline std::vector<std::string> differences(const std::map<std::string, torch::Tensor>& a,
                                            const std::map<std::string, torch::Tensor>& b) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : a) {
    const auto other = b.find(name);
    if (other == b.end() || !same_bits(tensor, other->second)) names.push_back(name);
  }
  for (const auto& [name, tensor] : b) {
    if (!a.contains(name)) names.push_back(name);
  }
  return names;
}

/// The largest ||a - b|| / ||b|| over all tensors of `b` (||a - b|| where b is zero).
inline double relative_error(const std::map<std::string, torch::Tensor>& a, const std::map<std::string, torch::Tensor>& b) {
  double largest = a.size() == b.size() ? 0 : 1e300;
  for (const auto& [name, expected] : b) {
    const auto found = a.find(name);
    if (found == a.end()) return 1e300;
    const double norm = expected.to(torch::kFloat64).norm().item<double>();
    const double error = (found->second.cpu() - expected.cpu()).to(torch::kFloat64).norm().item<double>();
    largest = std::max(largest, norm > 0 ? error / norm : error);
  }
  return largest;
}

}  // namespace bubblescope::testing_runs
