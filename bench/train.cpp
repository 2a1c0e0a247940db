// Training all schedules of a scenario.
#include "bench/train.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench/commands.hpp"
#include "bench/torch_backend.hpp"
#include "bench/run_folder.hpp"
#include "sim/core/error.hpp"

namespace bubblescope {
namespace {

nlohmann::json trained_json(const std::string& label, const Trained& trained, const TrainRequest& request) {
  const auto number = [](double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr); };
  return {{"schedule", label},
          {"status", trained.status},
          {"failure", trained.failure.empty() ? nlohmann::json(nullptr) : nlohmann::json(trained.failure)},
          {"iterations", trained.iterations},
          {"planned_iterations", trained.planned},
          {"loss", number(trained.loss)},
          {"test_loss", number(trained.test_loss)},
          {"test_accuracy", number(trained.test_accuracy)},
          {"checkpoint", request.checkpoint.string()},
          {"log", request.log.string()}};
}

/// What a person reads about the end of a training.
void tell_end(const std::string& label, const Trained& trained, const TrainRequest& request) {
  if (trained.status == "interrupted") {
    fmt::print("{}: interrupted after {} of {} iterations; the checkpoint is {}: go on with --resume\n", label, trained.iterations, trained.planned, request.checkpoint.string());
  } else if (trained.status == "complete") {
    fmt::print("{}: trained {} iterations; checkpoint {}\n", label, trained.iterations, request.checkpoint.string());
  }
}

/// Whether the first process has it.
bool has_checkpoint(const TrainRequest& request, World* world) {
  const bool here = (world == nullptr || world->first()) && std::filesystem::exists(request.checkpoint);
  return world == nullptr ? here : world->any(here);
}

}  // namespace

int train(const Scenario& scenario, const std::vector<Experiment>& experiments, const TrainOrder& order) {
  if (scenario.backend.name == "null") throw InputError("the null backend does not train; use 'backend.name = \"cpu\"'");
  const bool speaks = order.world == nullptr || order.world->first();
  if (speaks) prepare_run_folder(order.folder);
  std::vector<std::string> labels;
  for (const Experiment& experiment : experiments) labels.push_back(experiment.config.label);
  const std::vector<std::string> stems = file_stems(labels);
  std::vector<TrainRequest> requests;
  for (const std::string& stem : stems) {
    requests.push_back({order.folder / (stem + ".checkpoint"), order.folder / (stem + ".training.json"), order.resume, order.stop, order.world, {}});
  }
  nlohmann::json results = nlohmann::json::array();
  int code = 0;
  for (std::size_t e = 0; e < experiments.size() && code == 0; ++e) {
    TrainRequest& request = requests[e];
    if (request.resume && !has_checkpoint(request, order.world)) {
      request.resume = false;
      if (speaks) fmt::print(stderr, "bubblescope: {} has no checkpoint yet and begins\n", labels[e]);
    }
    if (!order.json && speaks) {
      request.epoch_done = [](const std::string& line) {
        fmt::print("{}\n", line);
        std::fflush(stdout);
      };
    }
    Trained trained;
    try {
      trained = train_with_torch(scenario, experiments[e], request);
    } catch (const std::exception&) {  // those before it are complete
      if (order.json && speaks && e > 0) print_json({{"schema_version", 1}, {"results", results}});
      throw;
    }
    // What only the first process has met (a log that cannot be written) is the end for all.
    const bool bad = trained.status != "complete" || !trained.failure.empty();
    if (order.world == nullptr ? bad : order.world->any(bad)) code = 1;
    if (!speaks) continue;
    results.push_back(trained_json(labels[e], trained, request));
    if (!order.json) tell_end(labels[e], trained, request);
    if (!trained.failure.empty()) fmt::print(stderr, "bubblescope: {}: {}\n", labels[e], trained.failure);
    if (trained.status == "failed") {
      fmt::print(stderr, "bubblescope: the losses of {} iterations are in {}, and a checkpoint written before stays as it was\n", trained.iterations, request.log.string());
    }
  }
  if (order.json && speaks) print_json({{"schema_version", 1}, {"results", results}});
  return code;
}

}  // namespace bubblescope
