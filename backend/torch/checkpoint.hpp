// Checkpoints: one file per run in the safetensors layout, so other tools can read it, too.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace bubblescope {

/// Everything that a run needs to go on as if it had not been interrupted.
struct Checkpoint {
  std::int64_t iteration = 0;  ///< iterations completed
  std::map<std::string, std::string> run;  ///< what was run (describe_run)
  std::map<std::string, torch::Tensor> tensors;  ///< float32, float64 or int64
};

/// Writes under a temporary name and renames, so a file of the final name is whole. Layout: 8 bytes
/// little-endian length of a JSON header; the header (per tensor: dtype, shape, data_offsets; under
/// `__metadata__` version, iteration, checksum, and `run` entries prefixed with `run.`); the data.
/// Throws RunError where the file cannot be written.
void write_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& file);

/// Throws InputError naming the file where it is missing, truncated, damaged or something else.
Checkpoint read_checkpoint(const std::filesystem::path& file);

/// Throws InputError naming the first thing in which the checkpoint's run differs from `run`.
void require_same_run(const Checkpoint& checkpoint, const std::map<std::string, std::string>& run,
                      const std::filesystem::path& file);

}  // namespace bubblescope
