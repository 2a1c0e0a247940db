// The training log as JSON.
#include "bench/torch/training_log.hpp"

#include <nlohmann/json.hpp>

#include "sim/core/write_file.hpp"

namespace bubblescope {

void write_training_log(const TrainingLog& log, const std::string& label, const std::string& status, std::int64_t planned, const std::filesystem::path& file) {
  using Json = nlohmann::ordered_json;
  Json epochs = Json::array();
  for (const EpochResult& epoch : log.epochs) {
    // An auxiliary network without class scores has NaN, which JSON has as null.
    epochs.push_back({{"epoch", epoch.epoch}, {"iteration", epoch.iteration}, {"loss", epoch.loss}, {"test_loss", epoch.test.loss}, {"test_accuracy", epoch.test.accuracy},
                      {"auxiliary_accuracy", epoch.test.auxiliary_accuracy}});
  }
  const Json root = {{"schema_version", 1},
                     {"schedule", label},
                     {"status", status},
                     {"failure", log.failure.empty() ? Json(nullptr) : Json(log.failure)},
                     {"iterations", log.iterations},
                     {"planned_iterations", planned},
                     {"epochs", epochs},
                     {"losses", log.losses}};
  write_file(file, root.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace bubblescope
