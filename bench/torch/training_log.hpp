// What a training run measured, as a file that is written again and again while it grows.
#pragma once

#include <filesystem>
#include <string>

#include "backend/torch/training.hpp"

namespace bubblescope {

/// Writes losses per iteration and evaluations per epoch as JSON, with `status` running, complete,
/// interrupted or failed, so that nobody takes part of a training for the whole. `planned`: iterations.
void write_training_log(const TrainingLog& log, const std::string& label, const std::string& status, std::int64_t planned, const std::filesystem::path& file);

}  // namespace bubblescope
